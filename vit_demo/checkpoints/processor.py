"""Read and write the image processor file of the transformers library."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from PIL import Image

from vit_demo.checkpoints.families import of_model_type
from vit_demo.checkpoints.files import IMAGE_PROCESSOR, NESTED_PROCESSOR, PROCESSOR, read_json
from vit_demo.checkpoints.values import flag, number, section
from vit_demo.checks import LARGEST_NUMBER, SMALLEST_NUMBER, check_number, is_finite, is_whole
from vit_demo.errors import UnsupportedError
from vit_demo.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, Size

# From this side on, ConvNeXt's processor does not crop.
SQUEEZED = 384
HALF = (0.5, 0.5, 0.5)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Defaults:
    """Default values of one of the library's image processors; sides in pixels.

    `square` says what a single number for the size means: both sides, or the shorter one. `crop` is
    the side of the center crop, which is applied if `crops` is true. With `crop_pct`, the photo is
    resized to size / `crop_pct` and its center is cropped to the size; from SQUEEZED pixels on, the
    whole photo is squeezed to a square instead. A size with two numbers is (height, width),
    whatever `square` says of a single number.
    """

    side: int | Size = 224
    square: bool = True
    crop: int | None = None
    crops: bool = False
    resample: Image.Resampling = Image.Resampling.BICUBIC
    mean: tuple[float, float, float] | None = HALF
    std: tuple[float, float, float] | None = HALF
    bgr: bool = False
    crop_pct: float | None = None
    unrounded: bool = False


# The supported processors, by their names in the library without "ImageProcessor". MobileViT's has
# blue as its first channel and never normalizes, whatever its file says.
BIT = Defaults(square=False, crop=224, crops=True, mean=CLIP_MEAN, std=CLIP_STD)
PROCESSORS = {
    "ViT": Defaults(resample=Image.Resampling.BILINEAR),
    "DeiT": Defaults(side=256, crop=224, crops=True),
    "Bit": BIT,
    "CLIP": BIT,
    "Siglip": Defaults(side=(224, 224), square=False),
    "Beit": Defaults(crop=224),
    "DINOv3ViT": Defaults(
        side=(224, 224),
        resample=Image.Resampling.BILINEAR,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        unrounded=True,
    ),
    "ConvNext": Defaults(side=384, square=False, crop_pct=224 / 256),
    "Pvt": Defaults(mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "MobileNetV2": Defaults(
        side=256, square=False, crop=224, crops=True, resample=Image.Resampling.BILINEAR
    ),
    "MobileViT": Defaults(square=False, crop=256, crops=True, mean=None, std=None, bgr=True),
}
KIND = re.compile(r"(?P<name>\w+?)(ImageProcessor|FeatureExtractor)(Fast|Pil)?")

# Steps that are not supported.
NOT_READ = ("do_pad", "rescale_offset", "use_square_size", "keep_aspect_ratio")


def stored_processor(folder: Path, source: str) -> Mapping[str, Any] | None:
    """The image processor settings of a folder; None if no file has any.

    As in the library, the one inside processor_config.json has priority over a separate file.
    """
    nested = folder / NESTED_PROCESSOR
    if nested.is_file():
        content = read_json(nested, source)
        if IMAGE_PROCESSOR in content:
            return section(content, IMAGE_PROCESSOR, NESTED_PROCESSOR)
    return read_json(folder / PROCESSOR, source) if (folder / PROCESSOR).exists() else None


def read_preprocessing(
    stored: Mapping[str, Any], image_size: Size, source: str, family: str = "vit"
) -> Preprocessing:
    """Read the preprocessing; missing entries get the defaults of the processor.

    Without a file, the size is the model's. Files of 2020 have `"size": 224` and little else; newer
    ones list every entry and set unused ones to null, and a step whose `do_…` is null is skipped.
    Raises UnsupportedError for a processor, or a step of it, that is not supported.
    """
    steps = {name: flag(stored, name, False, PROCESSOR) for name in stored if name[:3] == "do_"}
    stored = {name: value for name, value in stored.items() if value is not None} | steps
    kind = _kind(stored, family, source)
    for name in NOT_READ:
        if stored.get(name):
            raise UnsupportedError(
                f"{source} has {name}={stored[name]} in {PROCESSOR}, which is not read here; "
                "choose a checkpoint whose photos are resized and cropped alone."
            )
    own = PROCESSORS[kind]
    use_model_size = not stored or (
        kind == "ViT" and family in of_model_type(family, source).one_size
    )
    exact = own.square or isinstance(own.side, tuple)
    whole = image_size if exact else min(image_size)
    size = stored.get("size", whole if use_model_size else own.side)
    crop = stored.get("crop_size", own.crop if stored and own.crop else image_size)
    normalizes = own.mean is not None and stored.get("do_normalize", True)
    square = flag(stored, "default_to_square", own.square, PROCESSOR)
    resize = _resize(size, square, source) if stored.get("do_resize", True) else None
    crop = _exact(crop, "crop_size", source) if stored.get("do_center_crop", own.crops) else None
    if own.crop_pct is not None and resize is not None:
        share = number(stored, "crop_pct", own.crop_pct, file=PROCESSOR)
        resize, crop = _resize_then_crop(resize, crop, share, source)
    return Preprocessing(
        resize=resize,
        crop=crop,
        resample=_resample(stored.get("resample", own.resample), source),
        scale=number(stored, "rescale_factor", 1 / 255, file=PROCESSOR)
        if stored.get("do_rescale", True)
        else 1.0,
        mean=_channel_values(stored, "image_mean", own.mean, -LARGEST_NUMBER, source)
        if normalizes
        else None,
        std=_channel_values(stored, "image_std", own.std, SMALLEST_NUMBER, source)
        if normalizes
        else None,
        bgr=own.bgr and stored.get("do_flip_channel_order", True),
        unrounded=own.unrounded and stored.get("do_resize", True),
    )


def _kind(stored: Mapping[str, Any], family: str, source: str) -> str:
    """The processor that the file names, without the suffixes of the library's class names."""
    stated = stored.get("image_processor_type", stored.get("feature_extractor_type"))
    if stated is None:
        return of_model_type(family, source).processors.get(family, "ViT")
    found = KIND.fullmatch(str(stated))
    if found is None or found["name"] not in PROCESSORS:
        raise UnsupportedError(
            f"{source} prepares its photos by '{stated}', which is not read here; readable are the "
            f"image processors of {', '.join(PROCESSORS)}."
        )
    return found["name"]


def _resize(size: Any, square: bool, source: str) -> Size | int:
    match size:
        case int() if is_whole(size) and not square:
            return size
        case {"shortest_edge": edge, **rest} if is_whole(edge) and not rest:
            return edge
    return _exact(size, "size", source)


def _resize_then_crop(
    size: Size | int, crop: Size | None, share: float, source: str
) -> tuple[Size | int, Size | None]:
    """Resize and crop for a processor whose size is the size after cropping."""
    if isinstance(size, tuple):
        raise UnsupportedError(
            f"{source}: size={size} in {PROCESSOR} is not read with crop_pct; state shortest_edge."
        )
    if crop is not None:
        raise UnsupportedError(
            f"{source}: {PROCESSOR} crops twice, by crop_pct and by do_center_crop; keep one."
        )
    if size >= SQUEEZED:
        return (size, size), None
    return int(size / share), (size, size)


def _exact(size: Any, name: str, source: str) -> Size:
    match size:
        case {"height": height, "width": width, **rest} if not rest:
            pass
        case [height, width]:
            pass
        case _:
            height = width = size
    if is_whole(height) and is_whole(width):
        return height, width
    raise UnsupportedError(
        f"{source}: {name}={shortened(size)} in {PROCESSOR} is not read here; state height and "
        f"width{', or shortest_edge' if name == 'size' else ''}."
    )


def _resample(stated: Any, source: str) -> Image.Resampling:
    """A resampling filter, from Pillow's number or its name in upper or lower case."""
    if isinstance(stated, str) and stated.upper() in Image.Resampling.__members__:
        return Image.Resampling[stated.upper()]
    if not is_whole(stated) or stated not in list(Image.Resampling):
        raise UnsupportedError(
            f"{source}: resample={shortened(stated)} in {PROCESSOR} is no filter of Pillow's; "
            "state its number, 2 for bilinear or 3 for bicubic."
        )
    return Image.Resampling(stated)


def _channel_values(
    stored: Mapping[str, Any],
    name: str,
    default: Sequence[float] | None,
    least: float,
    source: str,
) -> tuple[float, float, float]:
    """One number per color channel; a single number applies to all three, as in the library."""
    stated = stored.get(name, default)
    match stated:
        case [red, green, blue]:
            pass
        case _:
            red = green = blue = stated
    if is_finite(red) and is_finite(green) and is_finite(blue):
        for value in (red, green, blue):
            check_number(f"{PROCESSOR}: {name}", value, least)
        return float(red), float(green), float(blue)
    raise UnsupportedError(
        f"{source}: {name}={shortened(stated)} in {PROCESSOR} is not read here; "
        "state one number, or three for red, green and blue."
    )


def preprocessing_json(preprocessing: Preprocessing) -> dict[str, Any]:
    """The processor file: ViT's for one exact size, BiT's for a short edge and a center crop."""
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
    if preprocessing.unrounded:
        raise UnsupportedError(
            "Photos that are resized without rounding have no processor file here; let them be "
            "resized as pictures."
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
