"""ViT, DeiT, DINOv2, MSN and I-JEPA: configurations and tensor names of transformers and timm.

timm's config.json states little, and old ones next to nothing. The rest is inferred here: from the
tensors where they show it, else from the architecture's name.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vit_demo.checkpoints.checkpoint import FLOATS
from vit_demo.checkpoints.families.family import Family, timm_reader
from vit_demo.checkpoints.naming import HF_SIDE, QKV, Rule, join_qkv, rename, square
from vit_demo.checkpoints.timm_config import classes_of, input_size, model_args, pooling
from vit_demo.checkpoints.values import flag, number, shape_of, sides, whole
from vit_demo.checks import LARGEST_NUMBER
from vit_demo.errors import CheckpointError, ConfigError, UnsupportedError
from vit_demo.models.grids import Grid
from vit_demo.models.layers import Gelu
from vit_demo.models.vit import FinalNorm, Pooling, VisionTransformer, ViTConfig

# transformers' names on the left, ours (timm's) on the right.
HF_RULES: tuple[Rule, ...] = (
    (r"^(vit|deit|dinov2|dinov2_with_registers|ijepa)\.", ""),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^encoder\.layer\.", "blocks."),
    (r"^layernorm\.", "norm."),
    (r"^(cls_)?classifier\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
    (r"^(blocks\.\d+)\.attention\.attention\.", r"\1.attn."),
    (r"^(blocks\.\d+)\.attention\.output\.dense\.", r"\1.attn.proj."),
    (r"^(blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"^(blocks\.\d+)\.mlp\.weights_in\.", r"\1.mlp.fc1."),
    (r"^(blocks\.\d+)\.mlp\.weights_out\.", r"\1.mlp.fc2."),
    (r"^(blocks\.\d+)\.layernorm_before\.", r"\1.norm1."),
    (r"^(blocks\.\d+)\.layernorm_after\.", r"\1.norm2."),
    (r"^(blocks\.\d+)\.layer_scale([12])\.lambda1$", r"\1.ls\2.gamma"),
)

# The inverse, for a plain ViT; everything but the head is under `vit.`.
HF_RULES_BACK: tuple[Rule, ...] = (
    (r"^head\.", "classifier."),
    (r"^patch_embed\.proj\.", "vit.embeddings.patch_embeddings.projection."),
    (r"^pos_embed$", "vit.embeddings.position_embeddings"),
    (r"^cls_token$", "vit.embeddings.cls_token"),
    (r"^norm\.", "vit.layernorm."),
    (r"^blocks\.", "vit.encoder.layer."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.", ".attention.attention."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
)

# Present in files but not used by a classifier: a pre-training token and a pooler.
HF_IGNORED = r"^(\w+\.)?(embeddings\.mask_token|pooler\.dense\.(weight|bias))$"

HF_GELUS: dict[str, Gelu] = {
    "gelu": "exact",
    "gelu_new": "tanh",
    "gelu_fast": "tanh",
    "gelu_pytorch_tanh": "tanh",
    "quick_gelu": "quick",
}

# The activation names that are written to config.json.
HF_GELU_NAMES: dict[Gelu, str] = {
    "exact": "gelu",
    "tanh": "gelu_pytorch_tanh",
    "quick": "quick_gelu",
}

# transformers' own default for each model type; every configuration class states it separately.
HF_LAYER_NORM_EPS = {
    "vit": 1e-12,
    "deit": 1e-12,
    "dinov2": 1e-6,
    "dinov2_with_registers": 1e-6,
    "vit_msn": 1e-6,
    "ijepa": 1e-12,
}


# Options that ViTForImageClassification cannot express.
SPECIAL = (
    "head_width",
    "representation",
    "distilled",
    "layer_scale",
    "class_token",
    "registers",
    "prefix_positions",
    "pre_norm",
    "qk_norm",
    "swiglu",
    "patch_norm",
    "proj_bias",
    "rms_norm",
    "post_norm",
    "positions",
    "attn_norm",
    "mlp_norm",
    "mlp_layer_scale",
    "pooling",
    "final_norm",
)


def read_gelu(config_json: Mapping[str, Any], source: str) -> Gelu:
    """The activation that a config.json names; UnsupportedError for one that is not supported."""
    activation = config_json.get("hidden_act", "gelu")
    if not isinstance(activation, str) or activation not in HF_GELUS:
        raise UnsupportedError(
            f"{source} uses the activation '{activation}'; readable: {', '.join(HF_GELUS)}."
        )
    return HF_GELUS[activation]


def covered(size: Grid, patch_size: int) -> Grid:
    """Height and width covered by whole patches; the libraries ignore the rest of a photo."""
    height, width = (max(side - side % patch_size, patch_size) for side in size)
    return height, width


def encoder_fields(config_json: Mapping[str, Any], classes: int, source: str) -> dict[str, Any]:
    """The fields that transformers' ViT encoders state under the same keys, with ViT's defaults."""
    patch_size = square(config_json.get("patch_size", 16), source)
    return {
        "classes": classes,
        "width": whole(config_json, "hidden_size", 768),
        "depth": whole(config_json, "num_hidden_layers", 12),
        "heads": whole(config_json, "num_attention_heads", 12),
        "mlp_width": whole(config_json, "intermediate_size", 3072),
        "patch_size": patch_size,
        "image_size": covered(sides(config_json, "image_size", HF_SIDE), patch_size),
        "channels": whole(config_json, "num_channels", 3),
        "gelu": read_gelu(config_json, source),
    }


def read_hf_config(
    config_json: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    family: str,
    classes: int,
    source: str,
) -> ViTConfig:
    """The model configuration from a config.json; missing keys get transformers' defaults.

    `tensors` have our names; they show whether a DeiT has a head that reads its distillation token.
    """
    config = ViTConfig(
        **encoder_fields(config_json, classes, source),
        qkv_bias=flag(config_json, "qkv_bias", True),
        layer_norm_eps=number(
            config_json, "layer_norm_eps", HF_LAYER_NORM_EPS[family], least=0.0, most=1.0
        ),
    )
    if family == "deit":
        distilled = "dist_token" in tensors
        return replace(config, distilled=distilled, registers=0 if distilled else 1)
    if family.startswith("dinov2"):
        return _dinov2(config, config_json, family)
    if family == "ijepa":
        return replace(config, class_token=False, pooling="mean")
    return config


def _dinov2(config: ViTConfig, config_json: Mapping[str, Any], family: str) -> ViTConfig:
    """The differences of DINOv2: wider heads, layer scale, SwiGLU, registers."""
    mlp_width = int(config.width * number(config_json, "mlp_ratio", 4.0))
    swiglu = flag(config_json, "use_swiglu_ffn", False)
    if swiglu:  # two thirds, rounded up to a multiple of eight
        mlp_width = (int(mlp_width * 2 / 3) + 7) // 8 * 8
    registers = family == "dinov2_with_registers"
    return replace(
        config,
        mlp_width=mlp_width,
        swiglu=swiglu,
        layer_scale=number(config_json, "layerscale_value", 1.0, least=-LARGEST_NUMBER),
        registers=whole(config_json, "num_register_tokens", 4, least=0) if registers else 0,
        prefix_positions=not registers,
        antialias=registers,
        pooling="class and mean",
    )


def size_name(config: ViTConfig) -> str:
    """'S/16' for the published widths, else the width itself."""
    letters = {192: "Ti", 384: "S", 768: "B", 1024: "L", 1280: "H"}
    return f"{letters.get(config.width, f'width {config.width}')}/{config.patch_size}"


def from_hf_names(tensors: Mapping[str, Tensor], family: str) -> dict[str, Tensor]:
    """Convert tensors to our names, and join query, key and value."""
    named = join_qkv(rename(tensors, HF_RULES, HF_IGNORED))
    if family == "deit" and "head_dist.weight" not in named and "dist_token" in named:
        # A distillation token that no head reads works like a register.
        named["reg_token"] = named.pop("dist_token")
    if family == "dinov2_with_registers" and {"cls_token", "pos_embed"} <= named.keys():
        # Registers have no position. The class token's position is a constant, so add it to the
        # token.
        placed, token = shape_of(named, "pos_embed", 3), shape_of(named, "cls_token", 3)
        kinds = {named["pos_embed"].dtype, named["cls_token"].dtype}
        if not kinds <= FLOATS or token != (1, 1, placed[2]):
            raise ConfigError(
                f"the tensors cls_token and pos_embed have the shapes {token} and {placed}, but "
                "they must hold one token, and positions of its width, in floating point."
            )
        own, patches = named["pos_embed"].float().tensor_split([1], dim=1)
        named["cls_token"] = named["cls_token"].float() + own
        named["pos_embed"] = patches
    return named


def to_hf_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a plain ViT's tensors to transformers' names, with query, key and value split."""
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        stem, found, kind = name.partition(".attn.qkv.")
        if found:
            pieces = zip(QKV, tensor.chunk(len(QKV)), strict=True)
            apart |= {f"{stem}.attn.{part}.{kind}": piece for part, piece in pieces}
        else:
            apart[name] = tensor
    return rename(apart, HF_RULES_BACK, ignored=r"$^")


def check_plain(config: ViTConfig) -> None:
    """Raise UnsupportedError unless `ViTForImageClassification` can express the configuration."""
    plain = ViTConfig(config.classes, image_size=config.image_size, patch_size=config.patch_size)
    if config.head_width is not None and config.head_width * config.heads == config.width:
        config = replace(config, head_width=None)  # stated explicitly, but equal to the default
    special = [name for name in SPECIAL if getattr(config, name) != getattr(plain, name)]
    if type(config) is not ViTConfig:
        special.append("relative or rotary positions")
    if special:
        raise UnsupportedError(
            "The transformers ViT layout has no layer scale, distillation token, pre-logits or "
            f"other special parts ({', '.join(special)}); fold or drop them before saving."
        )


def config_json_of(
    config: ViTConfig, labels: tuple[str, ...], dtype: torch.dtype
) -> dict[str, Any]:
    """The config.json of a plain ViT; raises UnsupportedError if the layout cannot express it."""
    check_plain(config)
    return {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "dtype": str(dtype).removeprefix("torch."),
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": config.mlp_width,
        "hidden_act": HF_GELU_NAMES[config.gelu],
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": config.layer_norm_eps,
        "image_size": config.image_size[0]
        if config.image_size[0] == config.image_size[1]
        else list(config.image_size),
        "patch_size": config.patch_size,
        "num_channels": config.channels,
        "qkv_bias": config.qkv_bias,
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }


# Heads are 64 wide, except for these widths and these names.
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

TIMM_GELUS: dict[str, Gelu] = {"gelu": "exact", "gelu_tanh": "tanh", "quick_gelu": "quick"}
# SigLIP's larger and later sizes were trained with the tanh approximation.
TANH_NAMES = re.compile(
    r"vit_(base_patch32|giantopt_patch16|so400m_patch16|large_patch16)_siglip_(gap_)?(256|384|512)"
)
EXACT_NAMES = re.compile(r"vit_large_patch16_siglip_(gap_)?(256|384)$")

# Only the names show eps. A model with an explicit norm layer has the first value.
LAYER_NORM_EPS, CLIP_EPS = 1e-6, 1e-5
CLIP_NAMES = re.compile(r"\w+_clip_|aimv2_|beit3_")
NORMS = ("layernorm", "rmsnorm")

POOLINGS: dict[str, Pooling] = {"token": "class", "avg": "mean", "map": "attention"}

# Part of the names of models with norms after attention and MLP; no tensor shows it.
POST_NORM = "_rpn_"

# Tensors that only unsupported kinds of blocks have, and what these blocks are.
UNSUPPORTED_BLOCKS = {
    r"\.in_proj\.": "attention and MLP side by side (parallel scaling blocks)",
    r"\.attns\.": "several attentions side by side",
    r"\.lambda_": "differential attention",
}


def from_timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert timm's tensors to our names, which are timm's; join gate and value of an MLP."""
    joined = dict(tensors)
    for name, gate in tensors.items():
        value = name.replace(".fc1_g.", ".fc1_x.")
        if value != name and value in tensors and gate.shape and gate.shape == tensors[value].shape:
            del joined[name]
            joined[name.replace(".fc1_g.", ".fc1.")] = torch.cat([gate, joined.pop(value)])
    return joined


def read_timm_config(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> ViTConfig:
    """The model configuration, from the tensors, the model arguments and the architecture name."""
    return ViTConfig(**timm_fields(config_json, tensors, source))


def timm_fields(
    config_json: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    source: str,
    image_size: tuple[int, int] | None = None,
    heads: int | None = None,
) -> dict[str, Any]:
    """The fields of a `ViTConfig`, or of a subclass of it.

    `image_size` is needed for a model without learned positions. `heads` is the number of heads, if
    the caller can infer it.
    """
    name, stated = str(config_json.get("architecture", "")), model_args(config_json)
    _check_block_kinds(name, tensors, source)
    try:
        width, channels, *kernel = shape_of(tensors, "patch_embed.proj.weight", 4)
        has_positions = image_size is None or "pos_embed" in tensors
        positions = shape_of(tensors, "pos_embed", 3)[1] if has_positions else 0
        fc1, _ = shape_of(tensors, "blocks.0.mlp.fc1.weight", 2)
        _, hidden = shape_of(tensors, "blocks.0.mlp.fc2.weight", 2)
        qkv, _ = shape_of(tensors, "blocks.0.attn.qkv.weight", 2)
    except KeyError as error:
        raise CheckpointError(f"{source} has no {error}; it is no ViT as timm saves it.") from error
    patch_size = square(kernel, source)
    registers = shape_of(tensors, "reg_token", 3)[1] if "reg_token" in tensors else 0
    prefix = sum(token in tensors for token in ("cls_token", "dist_token")) + registers
    if has_positions:
        grid = _grid(config_json, positions, prefix, patch_size, source)
        image_size = grid[0] * patch_size, grid[1] * patch_size
        patches = grid[0] * grid[1]
    else:
        patches = 0
    heads = heads or _heads(name, stated, tensors, width, source)
    return {
        "classes": classes_of(config_json, tensors.get("head.bias")),
        "width": width,
        "depth": 1 + max(int(m[1]) for n in tensors if (m := re.match(r"blocks\.(\d{1,4})\.", n))),
        "heads": heads,
        "head_width": qkv // len(QKV) // heads,
        "mlp_width": hidden,
        "swiglu": fc1 == 2 * hidden,
        "patch_size": patch_size,
        "image_size": image_size,
        "channels": channels,
        "qkv_bias": "blocks.0.attn.qkv.bias" in tensors,
        "qk_norm": "blocks.0.attn.q_norm.weight" in tensors,
        "gelu": _gelu(name, stated, source),
        "layer_norm_eps": _layer_norm_eps(name, stated, source),
        "patch_norm": "patch_embed.norm.weight" in tensors,
        "proj_bias": "blocks.0.attn.proj.bias" in tensors,
        "rms_norm": "blocks.0.norm1.bias" not in tensors,
        "post_norm": POST_NORM in name,
        "positions": has_positions,
        "attn_norm": "blocks.0.attn.norm.weight" in tensors,
        "mlp_norm": "blocks.0.mlp.norm.weight" in tensors,
        "mlp_layer_scale": "blocks.0.ls2.gamma" in tensors or "blocks.0.ls1.gamma" not in tensors,
        "layer_scale": 1.0 if "blocks.0.ls1.gamma" in tensors else None,
        "pre_norm": "norm_pre.weight" in tensors,
        "class_token": "cls_token" in tensors,
        "distilled": "dist_token" in tensors,
        "registers": registers,
        "prefix_positions": positions != patches,
        "antialias": True,
        "pooling": _pooling(config_json, tensors, source),
        "final_norm": _final_norm(tensors),
        "representation": _length(tensors, "pre_logits.fc.bias"),
    }


def _check_block_kinds(name: str, tensors: Mapping[str, Tensor], source: str) -> None:
    for pattern, reason in UNSUPPORTED_BLOCKS.items():
        if any(re.search(pattern, tensor) for tensor in tensors):
            raise UnsupportedError(
                f"{source} is a '{name}' with {reason}, which is not read; "
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
    """The number of heads; no tensor shape shows it, unless queries are normalized."""
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
    if not isinstance(activation, str) or activation not in TIMM_GELUS:
        raise UnsupportedError(
            f"{source} uses the activation '{activation}'; readable: {', '.join(TIMM_GELUS)}."
        )
    return TIMM_GELUS[activation]


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
    """Whether pooling includes the prefix tokens; no tensor shows it. One timm name implies it."""
    unless_stated = config_json.get("architecture") == "test_vit3"
    return flag(model_args(config_json), "pool_include_prefix", unless_stated)


def _final_norm(tensors: Mapping[str, Tensor]) -> FinalNorm:
    if "fc_norm.weight" in tensors:
        return "pooled"
    return "tokens" if "norm.weight" in tensors else "none"


def _length(tensors: Mapping[str, Tensor], name: str) -> int | None:
    return shape_of(tensors, name, 1)[0] if name in tensors else None


def _read_hf(
    config_json: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    model_type: str,
    classes: int,
    source: str,
) -> tuple[ViTConfig, Mapping[str, Tensor], str]:
    named = from_hf_names(tensors, model_type)
    config = read_hf_config(config_json, named, model_type, classes, source)
    return config, named, size_name(config)


TIMM_ARGUMENTS = (
    *("patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "init_values"),
    *("qkv_bias", "qk_norm", "proj_bias", "scale_attn_norm", "scale_mlp_norm"),
    *("class_token", "pos_embed", "no_embed_class", "reg_tokens", "dynamic_img_size"),
    *("pre_norm", "final_norm", "fc_norm", "pool_include_prefix"),
    *("norm_layer", "act_layer"),
)

FAMILY = Family(
    model=VisionTransformer,
    model_types={
        "vit": "ViT",
        "deit": "DeiT",
        "dinov2": "DINOv2",
        "dinov2_with_registers": "DINOv2",
        "vit_msn": "MSN",
        "ijepa": "I-JEPA",
    },
    read_hf=_read_hf,
    processors={"deit": "DeiT", "dinov2": "Bit", "dinov2_with_registers": "Bit"},
    one_size=("vit", "deit"),
    timm_names=r"(vit(?!_s?relpos|_pe_|_\w*(_rope|_dinov3|_sapiens2|_lingbot)(_|$))|flexivit|deit3?|eva_large|beit3|aimv2|test_vit(?!_relpos)\d?)(_|$)",
    not_timm_names={
        r"vit_base_(r\d+|resnet)|vit_(tiny|small|base|large)_r\d+": "a convolutional stem",
        r"cait_": "talking heads, which mix the attention weights of all heads",
        r"samvit_": "attention with a bias that depends on the photo",
        r"vitamin|vit_\w*sam": "windows or convolutions among its blocks",
    },
    timm_arguments=TIMM_ARGUMENTS,
    read_timm=timm_reader(from_timm_names, read_timm_config),
)
