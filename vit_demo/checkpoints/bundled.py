"""The checkpoints that come with the app."""

from vit_demo.settings import ASSETS

BUNDLED_FOLDER = ASSETS / "checkpoints"
DEFAULT = "flowers"


def bundled() -> list[str]:
    """Their names; they need no network."""
    return sorted(path.parent.name for path in BUNDLED_FOLDER.glob("*/config.json"))
