"""What a checkpoint's files say must go together."""

import pytest

from vit_demo.checkpoints.parsed_checkpoint import ParsedCheckpoint
from vit_demo.errors import ConfigError
from vit_demo.models.mobilevit import preset as mobilevit
from vit_demo.models.swin import SwinConfig
from vit_demo.preprocess import Preprocessing


def stored(config, preprocessing):
    return ParsedCheckpoint("it", "transformers", config, {}, (), preprocessing)


@pytest.mark.parametrize(
    "preprocessing",
    [Preprocessing(7), Preprocessing((32, 7)), Preprocessing((32, 32), crop=(7, 32))],
)
def test_photos_smaller_than_a_patch_are_refused(tiny_config, preprocessing):
    with pytest.raises(ConfigError, match="brought to 7 pixels, but the model cuts patches of 8"):
        stored(tiny_config, preprocessing)


def test_photos_of_one_patch_or_of_any_size_are_not(tiny_config):
    for preprocessing in (Preprocessing(8), Preprocessing(None), Preprocessing(4, crop=(8, 9))):
        stored(tiny_config, preprocessing)
    for config in (SwinConfig(5), mobilevit("xxs")):
        stored(config, Preprocessing((1, 1)))
