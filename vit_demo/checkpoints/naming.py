"""Convert a library's tensor names to ours; functions that the readers of both layouts share."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vit_demo.checkpoints.checkpoint import FLOATS
from vit_demo.checkpoints.values import pair
from vit_demo.errors import UnsupportedError

Rule = tuple[str, str | Callable[[re.Match[str]], str]]
COLOURS = 3
QKV = ("query", "key", "value")


def rename(tensors: Mapping[str, Tensor], rules: Sequence[Rule], ignored: str) -> dict[str, Tensor]:
    """Apply all (pattern, replacement) rules in order to every name; drop names in `ignored`.

    A name that matches no rule stays unchanged; loading reports it if it does not fit.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if re.search(ignored, name):
            continue
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        named[name] = tensor
    return named


def join_qkv(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Concatenate `attn.query`, `attn.key` and `attn.value` to `attn.qkv` where all three exist."""
    joined = dict(tensors)
    for name in tensors:
        stem, found, kind = name.partition(".attn.query.")
        parts = [f"{stem}.attn.{part}.{kind}" for part in QKV]
        if found and _can_be_stacked([tensors.get(part) for part in parts]):
            joined[f"{stem}.attn.qkv.{kind}"] = torch.cat([joined.pop(part) for part in parts])
    return joined


def join_apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join query, key and value to `attn.qkv`, whatever names the library gives them.

    A missing bias becomes zeros if another part has one. If heads share keys and values, which the
    number of rows shows, each head gets a copy.
    """
    named = dict(tensors)
    for start, part in zip("qkv", QKV, strict=True):
        for name in list(named):
            renamed = re.sub(
                rf"\.attn\.{start}_(proj\.(weight|bias)|bias)$", rf".attn.{part}.", name
            )
            if renamed != name:
                kind = "weight" if name.endswith("weight") else "bias"
                named[renamed + kind] = named.pop(name)
    for stem in {name.partition(".attn.")[0] for name in named if ".attn." in name}:
        _complete_biases(named, stem)
    return join_qkv(named)


def _complete_biases(named: dict[str, Tensor], stem: str) -> None:
    """Add missing biases of one block, and repeat shared keys and values."""
    parts = [f"{stem}.attn.{part}." for part in QKV]
    biases = [named.get(f"{part}bias") for part in parts]
    present = next((bias for bias in biases if bias is not None), None)
    weight = named.get(f"{parts[0]}weight")
    for part in parts:
        own = named.get(f"{part}weight")
        if present is not None and f"{part}bias" not in named:
            named[f"{part}bias"] = torch.zeros(len(present if own is None else own)).to(present)
        if weight is not None and own is not None:
            for kind in ("weight", "bias"):
                if (shared := named.get(f"{part}{kind}")) is not None:
                    width = named.get(f"{stem}.attn.q_norm.weight")
                    named[f"{part}{kind}"] = _for_each_head(shared, len(weight), width)
    joined = f"{stem}.attn.qkv."
    biases = [named.get(f"{part}bias") for part in parts]
    if f"{joined}weight" in named and f"{joined}bias" not in named and present is not None:
        named[f"{joined}bias"] = torch.cat([b for b in biases if b is not None])
        for part in parts:
            named.pop(f"{part}bias")


def _for_each_head(shared: Tensor, rows: int, width: Tensor | None) -> Tensor:
    """Repeat keys or values that several heads share."""
    if len(shared) == rows or width is None or len(shared) % len(width) or rows % len(shared):
        return shared
    apart = shared.reshape(len(shared) // len(width), len(width), *shared.shape[1:])
    return apart.repeat_interleave(rows // len(shared), dim=0).flatten(0, 1)


def _can_be_stacked(parts: Sequence[Tensor | None]) -> bool:
    """Whether all parts exist and their shapes differ only in the first dimension.

    Parts that do not match stay separate; loading reports them.
    """
    present = [part for part in parts if part is not None and part.ndim and part.dtype in FLOATS]
    return len(present) == len(parts) and len({part.shape[1:] for part in present}) == 1


def to_next_stage(match: re.Match[str]) -> str:
    """Move patch merging from the end of a stage to the start of the next, as in our models."""
    return f"layers.{int(match[1]) + 1}.downsample."


# The image size of transformers' configurations that state none.
HF_SIDE = 224


def square(size: Any, source: str) -> int:
    """The side of a patch, from one number or two; raises UnsupportedError for rectangles."""
    height, width = pair(size, "patch_size")
    if height != width:
        raise UnsupportedError(
            f"{source} cuts patches of {height} × {width} pixels; only square ones are read."
        )
    return height


def check_colours(channels: int, source: str) -> None:
    """Raise UnsupportedError unless a model takes red, green and blue."""
    if channels != COLOURS:
        raise UnsupportedError(
            f"{source} takes pixels of {channels} channel{'s' * (channels != 1)}; photos here have "
            f"{COLOURS}, red, green and blue, so choose a checkpoint that was trained on these."
        )
