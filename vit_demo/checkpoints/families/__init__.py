"""All supported model families, one record each. A new family is one file and one row here."""

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
    """The family of a transformers model type; UnsupportedError for one that is not supported."""
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    raise _unreadable(source, model_type)


def hub_tags() -> set[str]:
    """The Hub tags of supported models: transformers' model types, and `timm` for timm's."""
    return {"timm", *(model_type for family in FAMILIES for model_type in family.model_types)}


def of_timm_name(name: str, source: str) -> Family:
    """The family of a timm architecture; UnsupportedError for one that is not supported."""
    for family in FAMILIES:
        for pattern, reason in family.not_timm_names.items():
            if re.match(pattern, name):
                raise _unreadable(source, name, f", which has {reason}")
    for family in FAMILIES:
        if family.timm_names is not None and re.match(family.timm_names, name):
            return family
    raise _unreadable(source, name)


def readable() -> str:
    """The names of all families as in their papers, and the layouts, in one line."""
    names = dict.fromkeys(name for family in FAMILIES for name in family.model_types.values())
    return f"{', '.join(names)}, in the transformers or timm layout"


def _unreadable(source: str, family: str | None, reason: str = "") -> UnsupportedError:
    """The error for an unsupported family; it lists the supported ones."""
    return UnsupportedError(
        f"{source} is of the family '{family or 'unknown'}'{reason}; what can be read: "
        f"{readable()}."
    )
