"""Errors that a user can cause and fix, as one small tree.

    DemoError
    ├── ConfigError          a configuration that contradicts itself
    ├── PhotoError           a file that is missing, is not a picture, or is damaged
    ├── CheckpointError      a checkpoint that cannot be used
    │   ├── NotFoundError        no such bundled name, folder, repository or revision
    │   ├── AccessError          a private or gated repository, or a refused token
    │   ├── UnreachableError     the Hub cannot be reached, and the cache has no complete copy
    │   ├── DamagedError         a download that is still damaged after a retry
    │   ├── CancelledError       a download that was stopped on request
    │   ├── UnsupportedError     a family, format or option that is not supported
    │   └── StateDictMismatchError   tensors that do not fit the model, listed one by one
    ├── MethodError          an unknown explanation, or one that does not fit the checkpoint
    ├── TargetError          a class that the checkpoint does not have
    ├── OptionError          an option that does not exist, or a value outside its range
    ├── OutputError          a file that cannot be written
    ├── DataError            a folder of photos that cannot be used for training or evaluation
    ├── PublishError         a folder that cannot be uploaded, or a repository that refuses it
    └── StoppedError         a training run that was stopped on request and can be resumed

The page shows the message in a toast. The command line prints it on one line and exits with
status 2. Every other exception is a bug in this package and keeps its traceback.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

Shape = tuple[int, ...]

# A message lists at most this many names.
LISTED = 12


class DemoError(Exception):
    """What was given, why it cannot be used, and what to do next."""


class ConfigError(DemoError):
    """A configuration that contradicts itself."""


class PhotoError(DemoError):
    """A photo that cannot be read."""


class CheckpointError(DemoError):
    """A checkpoint that cannot be used."""


class NotFoundError(CheckpointError):
    """There is no checkpoint at this reference."""


class AccessError(CheckpointError):
    """A repository that this user, or this token, may not read."""


class UnreachableError(CheckpointError):
    """The Hub cannot be reached (no network, offline mode, busy), and the cache has no copy."""


class DamagedError(CheckpointError):
    """A file whose content differs from the Hub's checksum, even after a second download."""


class CancelledError(CheckpointError):
    """A download that was stopped on request."""


class UnsupportedError(CheckpointError):
    """A checkpoint whose family, file format or option is not supported."""


class StateDictMismatchError(CheckpointError):
    """The tensors of a file do not fit the model; the message lists them by name.

    `missing` tensors are in the model but not in the file, `unexpected` ones in the file but not
    in the model. `reshaped` ones are in both, with different shapes: (model's shape, file's shape).
    """

    def __init__(
        self,
        source: str,
        missing: Sequence[str],
        unexpected: Sequence[str],
        reshaped: Mapping[str, tuple[Shape, Shape]],
    ) -> None:
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.reshaped = dict(reshaped)
        lines = [
            *(f"  - {name}: in the model, not in the file" for name in missing),
            *(f"  + {name}: in the file, not in the model" for name in unexpected),
            *(
                f"  ~ {name}: the model wants {expected}, the file has {found}"
                for name, (expected, found) in reshaped.items()
            ),
        ]
        hidden = len(lines) - LISTED
        if hidden > 0:
            lines = [*lines[:LISTED], f"  … and {hidden} more"]
        super().__init__(
            f"{source} does not fit the model that its configuration describes:\n"
            + "\n".join(lines)
            + "\nWas the configuration taken from another checkpoint? Use the pair as it was saved."
        )


class MethodError(DemoError):
    """An explanation that does not exist or does not fit the checkpoint."""


class TargetError(DemoError):
    """A class that the checkpoint does not have."""


class OptionError(DemoError):
    """An option that does not exist or a value outside its range."""


class OutputError(DemoError):
    """A file that cannot be written."""


class StoppedError(DemoError):
    """A run that was stopped on request; the message says how to resume it."""


class DataError(DemoError):
    """A folder of photos that cannot be used for training or evaluation."""


class PublishError(DemoError):
    """A folder that cannot be uploaded, or a repository that refuses it."""


def nearest(name: str, known: Sequence[str]) -> str:
    """Suggest the `known` name closest to `name`, or list the known names when none is close."""
    if close := get_close_matches(name, known, n=1):
        return f"did you mean '{close[0]}'?"
    more = ", …" if len(known) > LISTED else "."
    return f"choose one of: {', '.join(known[:LISTED])}{more}"
