"""preprocessor_config.json, as the transformers library writes it, read and written."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from vit_demo.checkpoints.files import PROCESSOR
from vit_demo.errors import UnsupportedError
from vit_demo.preprocess import Preprocessing, Size

HALF = (0.5, 0.5, 0.5)

# What BitImageProcessor (DINOv2's) falls back on: CLIP's mean and deviation, 224 pixels.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
BIT_EDGE = 224

# What DeiTImageProcessor falls back on.
DEIT_EDGE, DEIT_CROP = 256, 224


def read_preprocessing(stored: Mapping[str, Any], image_size: Size, source: str) -> Preprocessing:
    """What a file leaves out is its processor's default; a ViT's size is the model's own.

    Files of 2020 say `"size": 224` and little else; newer ones list every entry, unused ones as
    null, and a step whose `do_…` is null is not taken.
    """
    steps = {name: bool(do) for name, do in stored.items() if name.startswith("do_")}
    stored = {name: value for name, value in stored.items() if value is not None} | steps
    kind = stored.get("image_processor_type", stored.get("feature_extractor_type", ""))
    if kind.startswith("MobileViT"):
        return _mobilevit(stored, source)
    bit, deit = kind.startswith("BitImageProcessor"), kind.startswith("DeiT")
    crops = stored.get("do_center_crop", bit or deit)
    edge, middle = (DEIT_EDGE, DEIT_CROP) if deit else (BIT_EDGE, BIT_EDGE)
    size = stored.get("size", edge if bit or deit else list(image_size))
    crop = stored.get("crop_size", middle if bit or deit else list(image_size))
    normalises = stored.get("do_normalize", True)
    mean, std = (CLIP_MEAN, CLIP_STD) if bit else (HALF, HALF)
    return Preprocessing(
        resize=_resize(size, bit, source) if stored.get("do_resize", True) else None,
        crop=_exact(crop) if crops else None,
        resample=Image.Resampling(stored.get("resample", 3 if bit or deit else 2)),
        scale=stored.get("rescale_factor", 1 / 255) if stored.get("do_rescale", True) else 1.0,
        mean=tuple(stored.get("image_mean", mean)) if normalises else None,
        std=tuple(stored.get("image_std", std)) if normalises else None,
    )


def _mobilevit(stored: Mapping[str, Any], source: str) -> Preprocessing:
    """MobileViT reads blue first, and its processor never normalises, whatever the file says."""
    size = stored.get("size", {"shortest_edge": 224})
    return Preprocessing(
        resize=_resize(size, True, source) if stored.get("do_resize", True) else None,
        crop=_exact(stored.get("crop_size", 256)) if stored.get("do_center_crop", True) else None,
        resample=Image.Resampling(stored.get("resample", Image.Resampling.BICUBIC)),
        scale=stored.get("rescale_factor", 1 / 255) if stored.get("do_rescale", True) else 1.0,
        mean=None,
        std=None,
        bgr=stored.get("do_flip_channel_order", True),
    )


def _resize(size: Any, by_short_edge: bool, source: str) -> Size | int:
    match size:
        case int() if by_short_edge:
            return size
        case {"shortest_edge": int(edge), **rest} if not rest:
            return edge
        case int() | [int(), int()] | {"height": int(), "width": int()}:
            return _exact(size)
    raise UnsupportedError(
        f"{source}: size={size} in {PROCESSOR} is not read here; "
        "state height and width, or shortest_edge."
    )


def _exact(size: Any) -> Size:
    match size:
        case {"height": int(height), "width": int(width)} | [int(height), int(width)]:
            return height, width
        case _:
            return size, size


def preprocessing_json(preprocessing: Preprocessing) -> dict[str, Any]:
    """The processor file: ViT's for one exact size, BiT's for a short edge and a centre crop."""
    match preprocessing.resize, preprocessing.crop:
        case (int(height), int(width)), None:
            kind: dict[str, Any] = {
                "image_processor_type": "ViTImageProcessor",
                "size": {"height": height, "width": width},
            }
        case int(edge), (int(height), int(width)):
            kind = {
                "image_processor_type": "BitImageProcessor",
                "size": {"shortest_edge": edge},
                "do_center_crop": True,
                "crop_size": {"height": height, "width": width},
            }
        case _:
            raise UnsupportedError(
                f"resize={preprocessing.resize} with crop={preprocessing.crop} has no processor "
                "file here; write an exact size, or a short edge and a crop."
            )
    if preprocessing.bgr:
        raise UnsupportedError("Photos with blue first have no processor file here; use RGB.")
    return kind | {
        "do_resize": True,
        "resample": int(preprocessing.resample),
        "do_rescale": True,
        "rescale_factor": preprocessing.scale,
        "do_normalize": preprocessing.mean is not None,
        "image_mean": list(preprocessing.mean or HALF),
        "image_std": list(preprocessing.std or HALF),
    }
