"""The arguments that timm made a model with: every one is known to be read, or refused by name."""

from collections.abc import Mapping
from typing import Any

from vit_demo.checkpoints.timm.timm_config import model_args, pooling
from vit_demo.errors import UnsupportedError

# These change nothing once a model is trained.
TRAINING = (
    "drop_rate",
    "pos_drop_rate",
    "patch_drop_rate",
    "proj_drop_rate",
    "attn_drop_rate",
    "drop_path_rate",
    "drop_block_rate",
    "drop_block_size",
    "weight_init",
    "fix_init",
    "zero_init_last",
)

# Shapes, which the tensors show, and what the families' own readers look at.
SHAPES = ("img_size", "in_chans", "num_classes", "global_pool")
KNOWN: Mapping[str, tuple[str, ...]] = {
    "vit": (
        *("patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "init_values"),
        *("qkv_bias", "qk_norm", "proj_bias", "scale_attn_norm", "scale_mlp_norm"),
        *("class_token", "pos_embed", "no_embed_class", "reg_tokens", "dynamic_img_size"),
        *("pre_norm", "final_norm", "fc_norm", "pool_include_prefix"),
        *("norm_layer", "act_layer"),
    ),
    "swin": (
        *("patch_size", "embed_dim", "depths", "num_heads", "head_dim", "mlp_ratio", "qkv_bias"),
        *("window_size", "always_partition", "strict_img_size", "dynamic_img_size"),
    ),
    "mobilevit": (),
}

# The means that the families' heads read where they have no other way.
ONLY_MEAN = ("swin", "mobilevit")


def check_arguments(config_json: Mapping[str, Any], family: str, source: str) -> None:
    """Raise UnsupportedError for an argument, or a pooling, that the family is not read with.

    One that is null, false or empty is as good as left out, but for those that are known.
    """
    for name, value in model_args(config_json).items():
        if value and name not in (*TRAINING, *SHAPES, *KNOWN[family]):
            raise UnsupportedError(
                f"{source} was made with {name}={value} (model_args), which is not read here; "
                "choose one that was made without."
            )
    how = pooling(config_json)
    if family in ONLY_MEAN and how not in (None, "avg"):
        raise UnsupportedError(f"{source} pools its places by '{how}'; readable: avg, their mean.")
