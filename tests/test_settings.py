"""Limits come from environment variables, and invalid values are refused."""

import pytest

from vit_demo.errors import ConfigError
from vit_demo.settings import Settings


def test_settings_are_read_from_the_environment():
    settings = Settings.from_environment({"VIT_DEMO_MEMORY_MB": "12", "SPACE_ID": "me/it"})
    assert settings == Settings(memory_mb=12, on_space=True, space_id="me/it")
    assert settings.memory_bytes == 12_000_000
    assert Settings.from_environment({}) == Settings()
    assert Settings.from_environment({"GRADIO_SERVER_NAME": "0.0.0.0"}).host == "0.0.0.0"


@pytest.mark.parametrize(("value", "words"), [("much", "not a whole number"), ("0", "1 or more")])
def test_invalid_values_are_refused(value, words):
    with pytest.raises(ConfigError, match=words):
        Settings.from_environment({"VIT_DEMO_DOWNLOAD_MB": value})
