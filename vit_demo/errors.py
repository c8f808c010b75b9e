"""Everything a person can cause to go wrong, as one small tree.

    DemoError
    ├── ConfigError          a configuration that contradicts itself
    ├── PhotoError           a file that is missing, is no picture, or is damaged
    ├── CheckpointError      a checkpoint that cannot be used
    │   ├── NotFoundError        no such bundled name, folder, repository or revision
    │   ├── AccessError          a private or gated repository, or a refused token
    │   ├── UnreachableError     the Hub cannot be asked, and the cache has no whole copy
    │   ├── DamagedError         a file that arrives damaged, again and again
    │   ├── CancelledError       a download that was stopped on request
    │   ├── UnsupportedError     a family, format or option that is not read here
    │   └── StateDictMismatchError          tensors that do not fit the model, listed one by one
    ├── MethodError          an unknown explanation, or one that does not fit the checkpoint
    ├── TargetError          a class that the checkpoint does not know
    ├── OptionError          an option that does not exist, or a value outside its range
    ├── OutputError          a file that cannot be written
    ├── DataError            a folder of photos that cannot be trained or scored on
    ├── PublishError         a folder that cannot be uploaded, or a repository that cannot take it
    └── StoppedError         a training run that was stopped on request, and can go on

The page shows the message in a toast, the command line prints it on one line and ends with
status 2. Anything else is a bug of ours and keeps its traceback.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

Shape = tuple[int, ...]

# Names that one message lists at the most.
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
    """No checkpoint stands behind this reference."""


class AccessError(CheckpointError):
    """A repository that this person, or this token, may not read."""


class UnreachableError(CheckpointError):
    """The Hub cannot be asked (no network, offline mode, too busy), and the cache cannot help."""


class DamagedError(CheckpointError):
    """A file whose content is not what the Hub says it is, even when fetched again."""


class CancelledError(CheckpointError):
    """A download that was stopped on request."""


class UnsupportedError(CheckpointError):
    """A checkpoint of a family, a file format or an option that is not read here."""


class StateDictMismatchError(CheckpointError):
    """Tensors and model disagree; says where, name by name.

    `missing` are in the model and not in the file, `unexpected` the other way round, and
    `reshaped` in both, with the shape the model wants and the shape the file has.
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
                f"  ~ {name}: the model wants {wanted}, the file has {found}"
                for name, (wanted, found) in reshaped.items()
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
    """A class that the checkpoint does not know."""


class OptionError(DemoError):
    """An option that does not exist or a value outside its range."""


class OutputError(DemoError):
    """A file that cannot be written."""


class StoppedError(DemoError):
    """A run that was stopped on request; the message says how to go on."""


class DataError(DemoError):
    """A folder of photos that cannot be trained or scored on."""


class PublishError(DemoError):
    """A folder that cannot be uploaded, or a repository that cannot take it."""


def nearest(given: str, known: Sequence[str]) -> str:
    """Say which of the `known` names was probably meant, or list them when none is near."""
    if close := get_close_matches(given, known, n=1):
        return f"did you mean '{close[0]}'?"
    more = ", …" if len(known) > LISTED else "."
    return f"choose one of: {', '.join(known[:LISTED])}{more}"
