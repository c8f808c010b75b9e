"""Vision encoders of CLIP, MetaCLIP 2 and SigLIP with a classifier, in the transformers layout.

The classifier reads the mean of the patches. The files also contain the pooling layers of
image-text training; these are ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.families.family import Family
from vit_demo.checkpoints.families.vit import encoder_fields, size_name
from vit_demo.checkpoints.naming import Rule, join_qkv, rename
from vit_demo.checkpoints.values import number, section
from vit_demo.models.vit import FinalNorm, VisionTransformer, ViTConfig


@dataclass(frozen=True)
class Tower:
    """Differences between the vision encoders, and the library's defaults.

    `pre_norm` is CLIP's norm before the first block; encoders with it also have a class token and a
    patch embedding without bias. `ignored` matches tensors that the classifier does not use.
    """

    patch_size: int
    gelu: str
    layer_norm_eps: float
    pre_norm: bool
    final_norm: FinalNorm
    ignored: str


# Position indices that old files contain.
POSITION_IDS = r"embeddings\.position_ids$"
CLIP = Tower(32, "quick_gelu", 1e-5, True, "none", rf"{POSITION_IDS}|post_layernorm\.")
SIGLIP = Tower(
    16, "gelu_pytorch_tanh", 1e-6, False, "tokens", rf"{POSITION_IDS}|vision_model\.head\."
)
TOWERS = {"clip": CLIP, "metaclip_2": CLIP, "siglip": SIGLIP}

# transformers' names on the left, ours (timm's) on the right.
HF_RULES: tuple[Rule, ...] = (
    (r"^vision_model\.", ""),
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^embeddings\.class_embedding$", "cls_token"),
    (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^pre_layrnorm\.", "norm_pre."),
    (r"^post_layernorm\.", "norm."),
    (r"^classifier\.", "head."),
    (r"^encoder\.layers\.", "blocks."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.self_attn\.q_proj\.", ".attn.query."),
    (r"\.self_attn\.k_proj\.", ".attn.key."),
    (r"\.self_attn\.v_proj\.", ".attn.value."),
    (r"\.layer_norm([12])\.", r".norm\1."),
)


def read_hf_config(
    config_json: Mapping[str, Any], tower: Tower, classes: int, source: str
) -> ViTConfig:
    """The model configuration from a config.json; missing keys get transformers' defaults."""
    defaults = {"patch_size": tower.patch_size, "hidden_act": tower.gelu}
    stated = defaults | dict(section(config_json, "vision_config"))
    return ViTConfig(
        **encoder_fields(stated, classes, source),
        layer_norm_eps=number(stated, "layer_norm_eps", tower.layer_norm_eps, least=0.0, most=1.0),
        class_token=tower.pre_norm,
        pre_norm=tower.pre_norm,
        pooling="mean",
        final_norm=tower.final_norm,
    )


def from_hf_names(tensors: Mapping[str, Tensor], tower: Tower) -> dict[str, Tensor]:
    """Convert tensors to our names, and join query, key and value."""
    named = join_qkv(rename(tensors, HF_RULES, tower.ignored))
    for name, dimensions in ("cls_token", 1), ("pos_embed", 2):
        if name in named and named[name].ndim == dimensions:
            width = named[name].shape[-1]
            named[name] = named[name].reshape(1, -1, width)
    return named


def _read_hf(
    config_json: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    model_type: str,
    classes: int,
    source: str,
) -> tuple[ViTConfig, Mapping[str, Tensor], str]:
    tower = TOWERS[model_type]
    config = read_hf_config(config_json, tower, classes, source)
    return config, from_hf_names(tensors, tower), size_name(config)


FAMILY = Family(
    model=VisionTransformer,
    model_types={"clip": "CLIP", "metaclip_2": "MetaCLIP 2", "siglip": "SigLIP"},
    read_hf=_read_hf,
    processors={"clip": "CLIP", "metaclip_2": "CLIP", "siglip": "Siglip"},
)
