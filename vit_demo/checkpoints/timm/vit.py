"""ViT, DeiT and DINOv2 as timm names and describes them.

Everything that timm's config.json leaves out, and an old one leaves out nearly everything, is
inferred here: from the tensors where they show it, else from the architecture's name.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vit_demo.checkpoints.naming import square
from vit_demo.checkpoints.timm.timm_config import classes_of, input_size, model_args, pooling
from vit_demo.checkpoints.values import flag, shape_of, sides, whole
from vit_demo.errors import CheckpointError, UnsupportedError
from vit_demo.models.grids import Grid
from vit_demo.models.layers import Gelu
from vit_demo.models.vit import FinalNorm, Pooling, ViTConfig

# Heads are 64 wide, but for these widths and these names.
HEAD_WIDTH = 64
HEADS_OF_WIDTH = {64: 2, 96: 3, 1152: 16, 1280: 16, 1408: 16, 1664: 16}
HEADS_OF_NAME = {
    "aimv2_large_": 8,
    "aimv2_huge_": 12,
    "aimv2_1b_": 16,
    "aimv2_3b_": 24,
    "vit_base_patch16_gap_": 16,
    "vit_giantopt_": 16,
}

GELUS: dict[str, Gelu] = {"gelu": "exact", "gelu_tanh": "tanh", "quick_gelu": "quick"}
# SigLIP's larger and later sizes were trained with the approximation.
TANH_NAMES = re.compile(
    r"vit_(base_patch32|giantopt_patch16|so400m_patch16|large_patch16)_siglip_(gap_)?(256|384|512)"
)
EXACT_NAMES = re.compile(r"vit_large_patch16_siglip_(gap_)?(256|384)$")

# Only the names tell, unless another norm is stated, which has the first.
LAYER_NORM_EPS, CLIP_EPS = 1e-6, 1e-5
CLIP_NAMES = re.compile(r"\w+_clip_|aimv2_")
NORMS = ("layernorm", "rmsnorm")

POOLINGS: dict[str, Pooling] = {"token": "class", "avg": "mean", "map": "attention"}

# Tensors that betray blocks of another kind than the paper's, and what these are.
STRANGE = {
    r"\.in_proj\.": "attention and MLP side by side (parallel scaling blocks)",
    r"\.attns\.": "several attentions side by side",
    r"\.lambda_": "differential attention",
    r"\.attn\.rel_pos": "relative positions",
    r"\.attn\.norm\.": "norms inside attention and MLP (BEiT-3's)",
}


def to_timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors under our names, which are timm's; gate and value of an MLP in one."""
    joined = dict(tensors)
    for name, gate in tensors.items():
        value = name.replace(".fc1_g.", ".fc1_x.")
        if value != name and value in tensors and gate.shape and gate.shape == tensors[value].shape:
            del joined[name]
            joined[name.replace(".fc1_g.", ".fc1.")] = torch.cat([gate, joined.pop(value)])
    return joined


def read_config(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> ViTConfig:
    """The shape of a checkpoint, as its tensors, its arguments and its name tell it."""
    name, stated = config_json.get("architecture", ""), model_args(config_json)
    _refuse_strange(name, tensors, source)
    try:
        width, channels, *kernel = shape_of(tensors, "patch_embed.proj.weight", 4)
        _, positions, _ = shape_of(tensors, "pos_embed", 3)
        fc1, _ = shape_of(tensors, "blocks.0.mlp.fc1.weight", 2)
        _, hidden = shape_of(tensors, "blocks.0.mlp.fc2.weight", 2)
        qkv, _ = shape_of(tensors, "blocks.0.attn.qkv.weight", 2)
    except KeyError as error:
        raise CheckpointError(f"{source} has no {error}; it is no ViT as timm saves it.") from error
    patch_size = square(kernel, source)
    registers = shape_of(tensors, "reg_token", 3)[1] if "reg_token" in tensors else 0
    prefix = sum(token in tensors for token in ("cls_token", "dist_token")) + registers
    grid = _grid(config_json, positions, prefix, patch_size, source)
    heads = _heads(name, stated, tensors, width, source)
    return ViTConfig(
        classes=classes_of(config_json, tensors.get("head.bias")),
        width=width,
        depth=1 + max(int(m[1]) for n in tensors if (m := re.match(r"blocks\.(\d{1,4})\.", n))),
        heads=heads,
        head_width=qkv // 3 // heads,
        mlp_width=hidden,
        swiglu=fc1 == 2 * hidden,
        patch_size=patch_size,
        image_size=(grid[0] * patch_size, grid[1] * patch_size),
        channels=channels,
        qkv_bias="blocks.0.attn.qkv.bias" in tensors,
        qk_norm="blocks.0.attn.q_norm.weight" in tensors,
        gelu=_gelu(name, stated, source),
        layer_norm_eps=_layer_norm_eps(name, stated, source),
        patch_norm="patch_embed.norm.weight" in tensors,
        proj_bias="blocks.0.attn.proj.bias" in tensors,
        rms_norm="blocks.0.norm1.bias" not in tensors,
        layer_scale=1.0 if "blocks.0.ls1.gamma" in tensors else None,
        pre_norm="norm_pre.weight" in tensors,
        class_token="cls_token" in tensors,
        distilled="dist_token" in tensors,
        registers=registers,
        prefix_positions=positions != grid[0] * grid[1],
        antialias=True,
        pooling=_pooling(config_json, tensors, source),
        final_norm=_final_norm(tensors),
        representation=_length(tensors, "pre_logits.fc.bias"),
    )


def _refuse_strange(name: str, tensors: Mapping[str, Tensor], source: str) -> None:
    for pattern, reason in STRANGE.items():
        if any(re.search(pattern, tensor) for tensor in tensors):
            raise UnsupportedError(
                f"{source} is a '{name}' with {reason}, which is not read; "
                "choose one with plain blocks."
            )
    if "_rpn_" in name:
        raise UnsupportedError(
            f"{source} is a '{name}', whose norms stand behind each branch, which is not read; "
            "choose one with plain blocks."
        )


def _grid(
    config_json: Mapping[str, Any], positions: int, prefix: int, patch_size: int, source: str
) -> Grid:
    """Rows and columns of the learned positions: as stated if they fit, else a square."""
    stated = model_args(config_json)
    sizes = [] if stated.get("img_size") is None else [sides(stated, "img_size", 0)]
    for height, width in [*sizes, input_size(config_json)]:
        grid = height // patch_size, width // patch_size
        if grid[0] * grid[1] in (positions, positions - prefix):
            return grid
    for count in (positions - prefix, positions):
        if count > 0 and (side := math.isqrt(count)) ** 2 == count:
            return side, side
    raise CheckpointError(
        f"{source} has {positions} positions, which fit neither its image size nor a square; "
        "state img_size as [height, width] in model_args."
    )


def _heads(
    name: str, stated: Mapping[str, Any], tensors: Mapping[str, Tensor], width: int, source: str
) -> int:
    """No shape shows the heads, unless their queries are normalised."""
    if "num_heads" in stated:
        return whole(stated, "num_heads", 1)
    if norm := _length(tensors, "blocks.0.attn.q_norm.weight"):
        return width // norm
    if "embed_dim" in stated:
        raise UnsupportedError(
            f"{source} was made with embed_dim={stated['embed_dim']} and the heads of another "
            "width; state num_heads beside it in model_args."
        )
    for start, heads in HEADS_OF_NAME.items():
        if name.startswith(start):
            return heads
    return HEADS_OF_WIDTH.get(width, max(1, width // HEAD_WIDTH))


def _layer_norm_eps(name: str, stated: Mapping[str, Any], source: str) -> float:
    norm = stated.get("norm_layer")
    if not norm:
        return CLIP_EPS if CLIP_NAMES.match(name) else LAYER_NORM_EPS
    if str(norm).replace("_", "").lower() not in NORMS:
        raise UnsupportedError(
            f"{source} has norms of the kind '{norm}'; readable: {', '.join(NORMS)}."
        )
    if name.startswith("aimv2_"):
        raise UnsupportedError(
            f"{source} has a norm on its patches of another kind than its blocks' '{norm}', which "
            "is not read; choose one that was made without norm_layer."
        )
    return LAYER_NORM_EPS


def _gelu(name: str, stated: Mapping[str, Any], source: str) -> Gelu:
    activation = stated.get("act_layer")
    if activation is None:
        if "quickgelu" in name:
            return "quick"
        tanh = TANH_NAMES.match(name) and not EXACT_NAMES.match(name)
        return "tanh" if tanh else "exact"
    if not isinstance(activation, str) or activation not in GELUS:
        raise UnsupportedError(
            f"{source} uses the activation '{activation}'; readable: {', '.join(GELUS)}."
        )
    return GELUS[activation]


def _pooling(config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str) -> Pooling:
    attends = "attn_pool.latent" in tensors
    inferred = (
        "map"
        if attends
        else "token"
        if "cls_token" in tensors and "fc_norm.weight" not in tensors
        else "avg"
    )
    stated = pooling(config_json)
    how = inferred if stated is None else stated
    if how not in POOLINGS or _reads_registers(config_json):
        raise UnsupportedError(
            f"{source} pools its tokens by '{how}'; readable: {', '.join(POOLINGS)}, "
            "and none of them together with registers."
        )
    return POOLINGS[how]


def _reads_registers(config_json: Mapping[str, Any]) -> bool:
    """No tensor shows it; of timm's names one does so."""
    unless_stated = config_json.get("architecture") == "test_vit3"
    return flag(model_args(config_json), "pool_include_prefix", unless_stated)


def _final_norm(tensors: Mapping[str, Tensor]) -> FinalNorm:
    if "fc_norm.weight" in tensors:
        return "pooled"
    return "tokens" if "norm.weight" in tensors else "none"


def _length(tensors: Mapping[str, Tensor], name: str) -> int | None:
    return shape_of(tensors, name, 1)[0] if name in tensors else None
