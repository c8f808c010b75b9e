"""Adapt the weights of one ViT to another shape, as the start for training."""

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from vit_demo.models.vit import ViTConfig, resample_positions

HEADS = ("head.", "head_dist.", "pre_logits.")


def as_plain(old: ViTConfig) -> ViTConfig:
    """The configuration of a plain ViT that `adapt` converts an encoder to.

    A head width that follows from the token width is omitted. A norm of the class token is the same
    before and after pooling. A class token without a position embedding gets one of zeros. A
    distillation token is removed, also one that no head reads (a register with a position
    embedding).
    """
    implied = old.head_width is None or old.head_width * old.heads == old.width
    return replace(
        old,
        head_width=None if implied else old.head_width,
        representation=None,
        distilled=False,
        registers=0 if old.prefix_positions else old.registers,
        prefix_positions=old.prefix_positions or not old.registers,
        pooling="class",
        final_norm="tokens" if old.final_norm == "pooled" else old.final_norm,
        antialias=False,
    )


def adapt(
    tensors: Mapping[str, Tensor], old: ViTConfig, new: ViTConfig
) -> dict[str, Float[Tensor, "..."]]:
    """The encoder weights of `old` for a model of shape `new`, without the heads.

    The patch kernel and the position embeddings are resampled if the patch size or the grid
    differ. `as_plain` says which tokens are removed and which names change. All tensors are
    copies, so training does not change `tensors`.
    """
    adapted = {
        name: tensor.to(torch.float32, copy=True)
        for name, tensor in tensors.items()
        if not name.startswith(HEADS)
    }
    if old.distilled and not new.distilled:
        adapted = without_distillation(adapted)
    if old.registers and not new.registers and old.prefix_positions:
        adapted = without_registers(adapted, old.registers)
    if old.final_norm == "pooled" and new.final_norm == "tokens":
        adapted = {re.sub(r"^fc_norm\.", "norm.", name): t for name, t in adapted.items()}
    if new.placed_prefix and not old.placed_prefix:
        positions = adapted["pos_embed"]
        zeros = positions.new_zeros(1, new.placed_prefix, positions.shape[-1])
        adapted["pos_embed"] = torch.cat([zeros, positions], dim=1)
    adapted["patch_embed.proj.weight"] = resample_patch_kernel(
        adapted["patch_embed.proj.weight"], new.patch_size
    )
    adapted["pos_embed"] = resample_positions(
        adapted["pos_embed"], new.placed_prefix, old.grid, new.grid, antialias=True
    )
    return adapted


def without_distillation(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights without DeiT's distillation token and its position embedding."""
    kept = {name: tensor for name, tensor in tensors.items() if name != "dist_token"}
    positions = kept["pos_embed"]
    kept["pos_embed"] = torch.cat([positions[:, :1], positions[:, 2:]], dim=1)
    return kept


def without_registers(tensors: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """The tensors without `count` registers and without their position embeddings."""
    kept = {name: tensor for name, tensor in tensors.items() if name != "reg_token"}
    positions = kept["pos_embed"]
    kept["pos_embed"] = torch.cat([positions[:, :1], positions[:, 1 + count :]], dim=1)
    return kept


def fold_layer_scale(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fold layer scale into the preceding layer: γ · (Wx + b) = (γW)x + γb, exactly."""
    folded = dict(tensors)
    for name in tensors:
        stem, found, _ = name.partition(".ls1.gamma")
        if found:
            _scale_rows(folded, f"{stem}.attn.proj", folded.pop(f"{stem}.ls1.gamma"))
            _scale_rows(folded, f"{stem}.mlp.fc2", folded.pop(f"{stem}.ls2.gamma"))
    return folded


def _scale_rows(tensors: dict[str, Tensor], layer: str, gamma: Float[Tensor, " d"]) -> None:
    tensors[f"{layer}.weight"] = gamma[:, None] * tensors[f"{layer}.weight"]
    tensors[f"{layer}.bias"] = gamma * tensors[f"{layer}.bias"]


def resample_patch_kernel(
    kernel: Float[Tensor, "d c p p"], patch_size: int
) -> Float[Tensor, "d c q q"]:
    """Resample a patch kernel to another patch size (FlexiViT, arXiv 2212.08013, eq. 2).

    With B the linear map that resizes a patch, the new kernel is the pseudo-inverse of Bᵀ applied
    to the old one. A patch that is enlarged by B then gives the same token as before.
    """
    old = kernel.shape[-1]
    if old == patch_size:
        return kernel
    basis = rearrange(torch.eye(old * old, dtype=torch.float64), "k (p q) -> k 1 p q", p=old)
    resized = functional.interpolate(
        basis, size=(patch_size, patch_size), mode="bicubic", antialias=True
    )
    transposed = rearrange(resized, "k 1 p q -> k (p q)")
    flat = rearrange(kernel.double(), "d c p q -> (d c) (p q)")
    resampled = flat @ torch.linalg.pinv(transposed).mT
    return rearrange(resampled, "(d c) (p q) -> d c p q", c=kernel.shape[1], p=patch_size).to(
        kernel.dtype
    )
