"""All families of models that are read, one record each. Adding one is one file and one row."""

import re

from vit_demo.checkpoints.families import (
    beit,
    clip,
    eva,
    mobilevit,
    mobilevit_v2,
    swin,
    swin_v2,
    vit,
)
from vit_demo.checkpoints.families.family import Family
from vit_demo.errors import UnsupportedError

__all__ = ["FAMILIES", "Family", "hub_tags", "of_model_type", "of_timm_name", "readable"]

FAMILIES: list[Family] = [
    vit.FAMILY,
    clip.FAMILY,
    beit.FAMILY,
    eva.FAMILY,
    swin.FAMILY,
    swin_v2.FAMILY,
    mobilevit.FAMILY,
    mobilevit_v2.FAMILY,
]


def of_model_type(model_type: str | None, source: str) -> Family:
    """The family of one of transformers' model types; UnsupportedError for one that is not read."""
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    raise _unreadable(source, model_type)


def hub_tags() -> set[str]:
    """The Hub's tags for what can be read: model types, and timm's models carry the library's."""
    return {"timm", *(model_type for family in FAMILIES for model_type in family.model_types)}


def of_timm_name(name: str, source: str) -> Family:
    """The family of one of timm's architectures; UnsupportedError for one that is not read."""
    for family in FAMILIES:
        for pattern, reason in family.not_timm_names.items():
            if re.match(pattern, name):
                raise _unreadable(source, name, f", which has {reason}")
    for family in FAMILIES:
        if family.timm_names is not None and re.match(family.timm_names, name):
            return family
    raise _unreadable(source, name)


def readable() -> str:
    """All families as their papers write them, and the layouts, in one line."""
    names = dict.fromkeys(name for family in FAMILIES for name in family.model_types.values())
    return f"{', '.join(names)}, in the transformers or timm layout"


def _unreadable(source: str, family: str | None, reason: str = "") -> UnsupportedError:
    """The refusal of a family that is not read here; it names those that are."""
    return UnsupportedError(
        f"{source} is of the family '{family or 'unknown'}'{reason}; what can be read: "
        f"{readable()}."
    )
