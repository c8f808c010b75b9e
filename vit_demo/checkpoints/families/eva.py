"""EVA, EVA-02, DINOv3 and other ViTs with rotary positions: configurations and tensor names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

from vit_demo.checkpoints.families.family import Family, timm_reader
from vit_demo.checkpoints.families.vit import (
    HF_GELUS,
    covered,
    from_timm_names,
    size_name,
    timm_fields,
)
from vit_demo.checkpoints.naming import HF_SIDE, Rule, join_apart, rename, square
from vit_demo.checkpoints.timm_config import input_size, model_args, pooling
from vit_demo.checkpoints.values import flag, number, pair, shape_of, sides, whole
from vit_demo.checks import LARGEST_NUMBER
from vit_demo.errors import UnsupportedError
from vit_demo.models.grids import Grid
from vit_demo.models.rotary_vit import Coordinates, RotaryViT, RotaryViTConfig
from vit_demo.models.vit import ViTConfig

# transformers' names on the left, ours on the right.
HF_RULES: tuple[Rule, ...] = (
    (r"^(model|dinov3_vit)\.", ""),
    (r"^embeddings\.patch_embeddings\.", "patch_embed.proj."),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^classifier\.", "head."),
    (r"^layer\.", "blocks."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.([qkv])_proj\.", r".attn.\1_proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.down_proj\.", ".mlp.fc2."),
    (r"\.mlp\.gate_proj\.", ".mlp.fc1_g."),
)
# With a gate, up_proj is the gated layer; without one, it is the only first layer.
HF_GATED: Rule = (r"\.mlp\.up_proj\.", ".mlp.fc1_x.")
HF_PLAIN: Rule = (r"\.mlp\.up_proj\.", ".mlp.fc1.")
HF_IGNORED = r"embeddings\.mask_token$|inv_freq$"

TIMM_RULES: tuple[Rule, ...] = ((r"\.gamma_([12])$", r".ls\1.gamma"),)
# Computed from the grid, not learned.
TIMM_IGNORED = r"^rope\.(bands|periods|pos_embed\w*)$"


@dataclass(frozen=True)
class RopeSettings:
    """The rotary position settings of an architecture; its arguments override them."""

    coordinates: Coordinates = "numbered"
    offset: float = 0.0
    reference: Grid | None = None
    temperature: float = 10_000.0
    columns_first: bool = False
    halves: bool = False
    own_frequencies: bool = False


T = TypeVar("T")

# By timm's names; the first pattern that matches applies. No tensor shows these settings.
EVA02 = RopeSettings(reference=(16, 16))
ENCODER = RopeSettings(offset=1.0, reference=(32, 32), columns_first=True)
TIMM_ROPES: dict[str, RopeSettings | None] = {
    r"eva_giant|eva02_enormous": None,
    r"eva02_|vit_\w+_rope_reg\d": EVA02,
    r"vit_\w+_rope_mixed_": RopeSettings(columns_first=True, own_frequencies=True),
    r"vit_\w+_rope_": RopeSettings(temperature=100.0, columns_first=True),
    r"vit_pe_\w+_gigantic_": replace(ENCODER, offset=0.0),
    r"vit_pe_core_base_": replace(ENCODER, reference=(14, 14)),
    r"vit_pe_core_": replace(ENCODER, reference=(24, 24)),
    r"vit_pe_": ENCODER,
    r"vit_": RopeSettings("centered", temperature=100.0, halves=True),
}
# Exceptions: heads that are not 64 wide, or not as wide as usual for their token width.
HEADS = {
    r"eva02_enormous_|vit_pe_\w+_gigantic_": 16,
    r"vit_huge_plus_": 20,
    r"vit_7b_": 32,
}
POOL_HEADS = {r"vit_pe_core_": 8}
# Only the names show eps, and that some models with a class token read the mean instead.
EPS_NAMES, EPS_OF_NAMES, EPS = re.compile(r"\w+(dinov3|lingbot)|vit_pe_"), 1e-5, 1e-6
MEAN_NAMES = re.compile(r"\w+_dinov3|vit_pe_(lang|spatial)_")
ROPE_TYPES = ("cat", "mixed", "dinov3")


def _by_name(name: str, known: Mapping[str, T], default: T) -> T:
    return next((known[pattern] for pattern in known if re.match(pattern, name)), default)


def read_timm_config(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> ViTConfig:
    """The model configuration, from the tensors, the model arguments and the architecture name."""
    name, stated = str(config_json.get("architecture", "")), model_args(config_json)
    image_size = sides(stated, "img_size", 0) if stated.get("img_size") else input_size(config_json)
    heads = whole(stated, "num_heads", 1) if "num_heads" in stated else _by_name(name, HEADS, None)
    fields = timm_fields(config_json, tensors, source, image_size, heads)
    pool = "attn_pool.mlp.fc1.weight"
    fields |= {
        "layer_norm_eps": EPS_OF_NAMES
        if EPS_NAMES.match(name) and not stated.get("norm_layer")
        else EPS,
        "post_norm": flag(stated, "use_post_norm", name.startswith("eva02_enormous")),
        "pool_prefix": True,
        "pool_heads": whole(stated, "attn_pool_num_heads", fields["heads"])
        if stated.get("attn_pool_num_heads")
        else _by_name(name, POOL_HEADS, None),
        "pool_mlp_width": shape_of(tensors, pool, 2)[0] if pool in tensors else None,
    }
    if pooling(config_json) is None and MEAN_NAMES.match(name):
        fields["pooling"] = "mean"
    rope = _rope(name, stated, source)
    return ViTConfig(**fields) if rope is None else RotaryViTConfig(**fields, **vars(rope))


def _rope(name: str, stated: Mapping[str, Any], source: str) -> RopeSettings | None:
    """The settings of the architecture's name; model_args override them."""
    rope = _by_name(name, TIMM_ROPES, None)
    if not flag(stated, "use_rot_pos_emb", rope is not None):
        return None
    rope = rope or RopeSettings()
    kind = stated.get("rope_type")
    if kind is not None:
        if kind not in ROPE_TYPES:
            raise UnsupportedError(
                f"{source} was made with rope_type={kind}, which is not read; readable: "
                f"{', '.join(ROPE_TYPES)}."
            )
        rope = replace(
            rope,
            coordinates="centered" if kind == "dinov3" else "numbered",
            own_frequencies=kind == "mixed",
        )
    reference = stated.get("ref_feat_shape", rope.reference)
    indexing = stated.get("rope_grid_indexing", "xy" if rope.columns_first else "ij")
    return replace(
        rope,
        offset=number(stated, "rope_grid_offset", rope.offset, least=-LARGEST_NUMBER),
        reference=None if reference is None else pair(reference, "ref_feat_shape"),
        temperature=number(stated, "rope_temperature", rope.temperature),
        columns_first=indexing == "xy",
        halves=flag(stated, "rope_rotate_half", rope.halves),
    )


def read_hf_config(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], classes: int, source: str
) -> RotaryViTConfig:
    """The model configuration from a config.json; missing keys get transformers' defaults.

    transformers has no classifier for this family. User-made classifiers read the class token, or
    the class token and the mean of the patches; the width of the head shows which.
    """
    patch_size = square(config_json.get("patch_size", 16), source)
    gated = flag(config_json, "use_gated_mlp", False)
    activation = config_json.get("hidden_act", "gelu")
    if activation not in (("silu",) if gated else HF_GELUS):
        raise UnsupportedError(
            f"{source} uses the activation '{activation}'; readable: silu with a gate, and "
            f"{', '.join(HF_GELUS)} without."
        )
    biases = {flag(config_json, f"{part}_bias", True) for part in ("proj", "mlp")}
    if len(biases) > 1:
        raise UnsupportedError(
            f"{source} has only one of proj_bias and mlp_bias; both or neither are read."
        )
    width = whole(config_json, "hidden_size", 384)
    head = shape_of(tensors, "head.weight", 2)[1] if "head.weight" in tensors else width
    return RotaryViTConfig(
        classes=classes,
        width=width,
        depth=whole(config_json, "num_hidden_layers", 12),
        heads=whole(config_json, "num_attention_heads", 6),
        mlp_width=whole(config_json, "intermediate_size", 1536),
        patch_size=patch_size,
        image_size=covered(sides(config_json, "image_size", HF_SIDE), patch_size),
        channels=whole(config_json, "num_channels", 3),
        qkv_bias=any(
            flag(config_json, f"{part}_bias", part != "key") for part in ("query", "key", "value")
        ),
        proj_bias=biases == {True},
        swiglu=gated,
        gelu="exact" if gated else HF_GELUS[activation],
        layer_norm_eps=number(config_json, "layer_norm_eps", 1e-5, least=0.0, most=1.0),
        layer_scale=number(config_json, "layerscale_value", 1.0, least=-LARGEST_NUMBER),
        registers=whole(config_json, "num_register_tokens", 0, least=0),
        positions=False,
        pooling="class" if head == width else "class and mean",
        coordinates="centered",
        temperature=number(config_json, "rope_theta", 100.0),
        halves=True,
    )


def from_hf_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors to our names, and join query, key and value."""
    gated = any(".mlp.gate_proj." in name for name in tensors)
    named = rename(tensors, (*HF_RULES, HF_GATED if gated else HF_PLAIN), HF_IGNORED)
    if "reg_token" in named and not named["reg_token"].numel():
        del named["reg_token"]
    return from_timm_names(join_apart(named))


def _read_hf(
    config_json: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    model_type: str,
    classes: int,
    source: str,
) -> tuple[RotaryViTConfig, Mapping[str, Tensor], str]:
    del model_type
    named = from_hf_names(tensors)
    config = read_hf_config(config_json, named, classes, source)
    return config, named, size_name(config)


def _from_timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors to our names, and join separate query, key and value."""
    return from_timm_names(join_apart(rename(tensors, TIMM_RULES, TIMM_IGNORED)))


FAMILY = Family(
    model=RotaryViT,
    model_types={"dinov3_vit": "DINOv3"},
    read_hf=_read_hf,
    processors={"dinov3_vit": "DINOv3ViT"},
    timm_names=r"eva_giant_|eva02_|vit_\w+_(rope|dinov3|sapiens2|lingbot)(_|$)|vit_pe_",
    timm_arguments=(
        *("patch_size", "embed_dim", "depth", "num_heads", "num_kv_heads", "qkv_bias"),
        *("qkv_fused", "qk_norm", "mlp_ratio", "swiglu_mlp", "swiglu_align_to", "scale_mlp"),
        *("scale_attn_inner", "attn_type", "norm_layer", "init_values", "attn_only_layer_scale"),
        *("class_token", "num_reg_tokens", "no_embed_class", "use_abs_pos_emb"),
        *("use_rot_pos_emb", "rope_type", "rope_grid_offset", "rope_grid_indexing"),
        *("rope_temperature", "rope_rotate_half", "ref_feat_shape", "use_post_norm"),
        *("rope_shift_coords", "rope_jitter_coords", "rope_rescale_coords"),
        *("use_pre_transformer_norm", "use_post_transformer_norm", "use_fc_norm"),
        *("attn_pool_num_heads", "attn_pool_mlp_ratio", "dynamic_img_size", "head_init_scale"),
    ),
    read_timm=timm_reader(_from_timm_names, read_timm_config),
)
