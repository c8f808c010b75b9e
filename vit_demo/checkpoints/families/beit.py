"""BEiT, Data2Vec and timm's ViTs with relative positions: configurations and tensor names."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.families.family import Family, hf_reader, timm_reader
from vit_demo.checkpoints.families.vit import (
    HF_IGNORED,
    HF_RULES,
    encoder_fields,
    size_name,
    timm_fields,
)
from vit_demo.checkpoints.naming import Rule, join_apart, rename
from vit_demo.checkpoints.timm_config import input_size, model_args
from vit_demo.checkpoints.values import flag, number, shape_of, sides
from vit_demo.checks import LARGEST_NUMBER
from vit_demo.errors import UnsupportedError
from vit_demo.models.relative_vit import RelativeViT, RelativeViTConfig

# transformers' names on the left, ours (timm's) on the right; then the rules shared with ViT.
HF_BEIT_RULES: tuple[Rule, ...] = (
    (r"^(beit|data2vec_vision)\.", ""),
    (r"^encoder\.relative_position_bias\.", "shared_rel_pos."),
    (r"\.attention\.attention\.relative_position_bias\.", ".attention.attention.rel_pos."),
    (r"^pooler\.layernorm\.", "fc_norm."),
    (r"\.lambda_([12])$", r".ls\1.gamma"),
    *HF_RULES,
)

# Computed from the grid, not learned.
INDEX = r"relative_position_index$"

# Name prefix of the first block's own position bias, and of the bias shared by all blocks.
OWN, SHARED = "blocks.0.attn.rel_pos.", "shared_rel_pos."


def read_hf_config(config_json: Mapping[str, Any], classes: int, source: str) -> RelativeViTConfig:
    """The model configuration from a config.json; missing keys get transformers' defaults."""
    scale = number(config_json, "layer_scale_init_value", 0.1, -LARGEST_NUMBER)
    mean = flag(config_json, "use_mean_pooling", True)
    return RelativeViTConfig(
        **encoder_fields(config_json, classes, source),
        layer_norm_eps=number(config_json, "layer_norm_eps", 1e-12, least=0.0, most=1.0),
        layer_scale=scale if scale > 0 else None,
        positions=flag(config_json, "use_absolute_position_embeddings", False),
        pooling="mean" if mean else "class",
        final_norm="pooled" if mean else "tokens",
        own_bias=flag(config_json, "use_relative_position_bias", False),
        shared_bias=flag(config_json, "use_shared_relative_position_bias", False),
        exchanged=True,
    )


def from_hf_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors to our names, and join query, key and value."""
    named = rename(tensors, HF_BEIT_RULES, f"{HF_IGNORED}|{INDEX}")
    return join_apart(named)


# timm's names on the left, ours on the right.
TIMM_RULES: tuple[Rule, ...] = (
    (r"^rel_pos_bias\.", "shared_rel_pos."),
    (r"\.attn\.relative_position_bias_table$", ".attn.rel_pos.relative_position_bias_table"),
    (r"\.gamma_([12])$", r".ls\1.gamma"),
)


def from_timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors to our names, and join the biases of query, key and value."""
    return join_apart(rename(tensors, TIMM_RULES, rf"{INDEX}|\.rel_coords_log$"))


def read_timm_config(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> RelativeViTConfig:
    """The model configuration, from the tensors, the model arguments and the architecture name."""
    stated = model_args(config_json)
    if "swin" in str(stated.get("rel_pos_type", "")):
        raise UnsupportedError(
            f"{source} was made with rel_pos_type={stated['rel_pos_type']}, which is not read; "
            "readable: mlp and bias."
        )
    image_size = sides(stated, "img_size", 0) if stated.get("img_size") else input_size(config_json)
    own = any(name.startswith(OWN) for name in tensors)
    found = OWN if own else SHARED
    width, table = f"{found}mlp.fc1.bias", f"{found}relative_position_bias_table"
    heads = (
        shape_of(tensors, table, 2)[1]
        if table in tensors
        else shape_of(tensors, f"{found}mlp.fc2.bias", 1)[0]
        if width in tensors
        else None
    )
    return RelativeViTConfig(
        **timm_fields(config_json, tensors, source, image_size, heads),
        bias="distance" if width in tensors else "table",
        bias_width=shape_of(tensors, width, 1)[0] if width in tensors else 1,
        own_bias=own,
        shared_bias=any(name.startswith(SHARED) for name in tensors),
    )


FAMILY = Family(
    model=RelativeViT,
    model_types={"beit": "BEiT", "data2vec-vision": "Data2Vec"},
    read_hf=hf_reader(read_hf_config, from_hf_names, size_name),
    processors={"beit": "Beit", "data2vec-vision": "Beit"},
    timm_names=r"beit(v2)?_|(test_)?vit_s?relpos(_|$)",
    timm_arguments=(
        *("patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "init_values"),
        *("qkv_bias", "qk_norm", "class_token", "fc_norm", "norm_layer", "act_layer"),
        *("use_abs_pos_emb", "use_rel_pos_bias", "use_shared_rel_pos_bias", "use_fc_norm"),
        *("head_init_scale", "rel_pos_type", "rel_pos_dim", "shared_rel_pos"),
    ),
    read_timm=timm_reader(from_timm_names, read_timm_config),
)
