"""Read the tensors of a checkpoint and remove the wrappers that training added to their names.

Training scripts save a model inside other modules, which add a prefix to every name (DataParallel's
`module.`, torch.compile's `_orig_mod.`, a LightningModule's `model.`), inside dictionaries with the
optimizer state, and with a moving average of the weights.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from vit_demo.checkpoints.files import (
    PICKLE,
    WEIGHTS,
    damaged,
    load_tensors,
    read_json,
    unpickle_tensors,
)
from vit_demo.errors import LISTED, CheckpointError, UnsupportedError

INDEX, SAFETENSORS = ".index.json", Path(WEIGHTS).suffix

# Suffixes that training scripts give to files with a state dict.
PICKLED = (".pth", ".pt", ".pth.tar", ".ckpt")
ADAPTER = "adapter_"

# Prefixes of wrapper modules, and of those that hold the moving average of the weights.
WRAPPERS = ("module", "_orig_mod", "model", "timm_model", "net", "network")
AVERAGES = ("ema", "ema_model", "model_ema", "module_ema", "averaged_model")
WRAPPED = re.compile(rf"(?:(?:{'|'.join((*WRAPPERS, *AVERAGES))})\.)+")

# Start of a model's own tensor names in both libraries, without a wrapper prefix.
OF_A_MODEL = re.compile(
    r"(\w+\.)?(embeddings|patch_embed|pos_embed|cls_token|blocks|layers?|stages|encoder|stem"
    r"|conv_stem|norm|layernorm|fc_norm|head|head_dist|classifier|cls_classifier)(\.|$)"
)

# Tensors in many files that no classifier uses: a pre-training token, a pooler, an update counter.
NOT_READ = re.compile(r"(\w+\.)?(embeddings\.)?mask_token|(\w+\.)?pooler\.dense\.\w+|n_averaged")


@dataclass(frozen=True)
class Weights:
    """Tensors under the model's own names; `notes` describe the choices of the reader."""

    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()


def open_weights(folder: Path, source: str, allow_pickle: bool) -> Weights:
    """Read a checkpoint's tensors; from a pickle only with `allow_pickle`, if nothing else exists.

    Raises CheckpointError if there are none or they cannot be read.
    """
    if (folder / WEIGHTS).exists():
        return unwrapped(load_tensors(folder / WEIGHTS, source))
    if (folder / f"{WEIGHTS}{INDEX}").exists():
        return unwrapped(_load_parts(folder, WEIGHTS, source))
    if allow_pickle and (folder / PICKLE).exists():
        return open_pickle(folder / PICKLE, source)
    if allow_pickle and (folder / f"{PICKLE}{INDEX}").exists():
        return unwrapped(_load_parts(folder, PICKLE, source))
    if not (folder / PICKLE).exists() and (refusal := missing_weights(folder, source)):
        raise refusal
    return unwrapped(load_tensors(folder / WEIGHTS, source))


def open_pickle(path: Path, source: str) -> Weights:
    """Read the tensors of a pickle; raises CheckpointError if it cannot be read."""
    tensors, notes = unpickle_tensors(path, source)
    found = unwrapped(tensors)
    return Weights(found.tensors, (*notes, *found.notes))


def part_names(index: Path, source: str) -> list[str]:
    """The weight files that an index lists.

    Raises CheckpointError if the index names anything but weight files in its own folder.
    """
    weight_map = read_json(index, source).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(
            f"{source}: {index.name} has no weight_map that names files; save the checkpoint again."
        )
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or Path(name).suffix not in (SAFETENSORS, Path(PICKLE).suffix):
            raise CheckpointError(
                f"{source}: {index.name} names '{name}', which is no file of weights beside it; "
                "save the checkpoint again."
            )
    return names


def tensor_names(folder: Path, source: str) -> set[str]:
    """The names of a folder's tensors without wrappers; their values are not read.

    Empty for pickled weights, and if there are no weights.
    """
    names: set[str] = set()
    for path in weight_files(folder, allow_pickle=False):
        if path.suffix == SAFETENSORS:
            try:
                with safe_open(path, "pt") as file:
                    names.update(WRAPPED.sub("", name, count=1) for name in file.keys())  # noqa: SIM118
            except (SafetensorError, OSError) as error:
                raise damaged(path, source, error) from error
    return names


def missing_weights(folder: Path, source: str) -> CheckpointError | None:
    """The error for a folder with other weight files, saying what to do; None if it has none."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    if adapters := [name for name in names if name.startswith(ADAPTER)]:
        return UnsupportedError(
            f"{source} holds an adapter ({', '.join(adapters)}), which changes another model and "
            "is none; merge the two, with PEFT by model.merge_and_unload(), and save the result."
        )
    if readable := [name for name in names if name.endswith(PICKLED)]:
        return CheckpointError(
            f"{source} holds {', '.join(readable[:LISTED])} and no {WEIGHTS}; if it is a state "
            f"dict, name the file itself: {folder / readable[0]}"
        )
    if others := [name for name in names if name.endswith(SAFETENSORS)]:
        return CheckpointError(
            f"{source} holds {', '.join(others[:LISTED])} and no {WEIGHTS}; give the file that "
            "name."
        )
    return None


def weight_files(folder: Path, allow_pickle: bool) -> list[Path]:
    """The weight files to read, all of one kind; empty if one of them is missing."""
    for whole in (WEIGHTS, PICKLE) if allow_pickle else (WEIGHTS,):
        if (folder / whole).is_file():
            return [folder / whole]
        index = folder / f"{whole}{INDEX}"
        if index.is_file():
            try:
                parts = [folder / name for name in part_names(index, folder.name)]
            except CheckpointError:
                continue
            if all(part.is_file() for part in parts):
                return [index, *parts]
    return []


def _load_parts(folder: Path, whole: str, source: str) -> dict[str, Tensor]:
    """The tensors of all parts."""
    index = folder / f"{whole}{INDEX}"
    tensors: dict[str, Tensor] = {}
    for name in part_names(index, source):
        if not (folder / name).exists():
            raise CheckpointError(
                f"{source} has no {name}, which {index.name} names; copy all parts of the weights "
                "into the folder."
            )
        pickled = name.endswith(Path(PICKLE).suffix)
        path = folder / name
        tensors |= unpickle_tensors(path, source)[0] if pickled else load_tensors(path, source)
    return tensors


def unwrapped(tensors: Mapping[str, Tensor]) -> Weights:
    """Select the tensors of one model, remove wrapper prefixes, and drop everything else.

    If there are a model and the moving average of its weights, the average is used, as in timm.
    """
    by_prefix: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        found = WRAPPED.match(name)
        prefix = found[0] if found else ""
        by_prefix[prefix][name.removeprefix(prefix)] = tensor
    models = [prefix for prefix, part in by_prefix.items() if _is_model(part)]
    averages = [prefix for prefix in models if _is_average(prefix)]
    plain = [prefix for prefix in models if not _is_average(prefix)]
    # Different models, not copies of one: here the library's own names start like a wrapper prefix.
    if len(plain) > 1 or len(averages) > 1 or not models:
        return _drop_unused(tensors)
    chosen = (averages or plain)[0]
    others = [f"{prefix}{name}" for prefix, part in by_prefix.items() for name in part]
    dropped = [name for name in others if WRAPPED.sub("", name, count=1) not in by_prefix[chosen]]
    found = _drop_unused(by_prefix[chosen], dropped)
    if averages and plain:
        note = (
            f"The file holds the weights and their running mean; the mean ('{chosen}') is read, as "
            "timm does."
        )
        return Weights(found.tensors, (note, *found.notes))
    return found


def _drop_unused(tensors: Mapping[str, Tensor], dropped: Iterable[str] = ()) -> Weights:
    left_out = [*dropped, *(name for name in tensors if NOT_READ.fullmatch(name))]
    kept = {name: tensor for name, tensor in tensors.items() if not NOT_READ.fullmatch(name)}
    return Weights(kept, left_out_note(left_out))


def left_out_note(names: Iterable[str]) -> tuple[str, ...]:
    """One sentence that lists the unused tensors; empty if there are none."""
    listed = list(dict.fromkeys(names))
    if not listed:
        return ()
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    return (f"Left out, as no part of the classifier: {', '.join(listed[:LISTED])}{more}.",)


def _is_model(tensors: Mapping[str, Tensor]) -> bool:
    return any(OF_A_MODEL.match(name) for name in tensors)


def _is_average(prefix: str) -> bool:
    return any(name in AVERAGES for name in prefix.split("."))
