"""Start the page: `python app.py`. Importing this file starts nothing."""

import argparse
import contextlib
import ipaddress
import os
import sys
import warnings
from pathlib import Path

from PIL import Image

from vit_demo.checkpoints import DEFAULT, CheckpointCache
from vit_demo.checkpoints.preprocessing_presets import PRESETS
from vit_demo.errors import DemoError
from vit_demo.settings import Settings
from vit_demo.ui.checkpoint_policy import CheckpointPolicy
from vit_demo.ui.limited_log import LimitedLog
from vit_demo.ui.page import build_page, launch
from vit_demo.ui.results import Results
from vit_demo.ui.shutdown import finish, stop_signals
from vit_demo.ui.upload_folder import upload_folder
from vit_demo.ui.uploads import Uploads

USAGE_ERROR = 2
UPLOADS_VARIABLE = "GRADIO_TEMP_DIR"
LOOPBACK = "127.0.0.1"


def main() -> int:
    """Serve the page; exit status 2 and one line on stderr if it cannot start."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        settings = Settings.from_environment()
        flags = parse(settings)
        policy = CheckpointPolicy(
            flags.checkpoint,
            flags.any_checkpoint,
            on_own_machine(flags.host, flags.share, settings.on_space),
            flags.allow_pickle,
            flags.preprocessing,
            flags.classes,
        )
        cache = CheckpointCache(policy.load, settings.memory_bytes)
        cache.get(flags.checkpoint)
        serve(settings, flags, cache, policy)
    except DemoError as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return USAGE_ERROR
    return 0


def serve(
    settings: Settings, flags: argparse.Namespace, cache: CheckpointCache, policy: CheckpointPolicy
) -> None:
    """Serve the page until SIGTERM or Ctrl-C, then delete the visitors' uploads."""
    parent = os.environ.get(UPLOADS_VARIABLE)
    limited = contextlib.redirect_stderr(LimitedLog(sys.stderr))
    with upload_folder(Path(parent) if parent else None) as folder, limited:
        os.environ[UPLOADS_VARIABLE] = str(folder)  # the only way to tell Gradio
        results = Results(settings.results_bytes)
        page = build_page(cache, policy, Uploads(folder), results, settings.space_id)
        with stop_signals() as stop_asked:
            launch(
                page,
                flags.host,
                flags.port,
                flags.share,
                browser=not settings.on_space,
                own_machine=policy.own_machine,
            )
            print_address(page.local_url, page.share_url)
            stop_asked.wait()
            finish(page)


def print_address(local_url: str | None, share_url: str | None) -> None:
    """Print the page's address and its public link."""
    public = share_url or "none (start with --share for one)"
    sys.stdout.write(
        f"The page is at {local_url}  ·  public link: {public}\nStop it with Ctrl-C.\n"
    )
    sys.stdout.flush()


def parse(settings: Settings) -> argparse.Namespace:
    """Parse the launch flags; by default a public Space offers only the catalogue."""
    parser = argparse.ArgumentParser(description="Where does a Vision Transformer look?")
    parser.add_argument(
        "--checkpoint", default=DEFAULT, metavar="REF", help="checkpoint that is selected first"
    )
    parser.add_argument(
        "--host", default=settings.host, help="address to bind (127.0.0.1 unless on a Space)"
    )
    parser.add_argument("--port", type=int, help="port to bind (the first free one from 7860)")
    parser.add_argument("--share", action="store_true", help="a public link for 72 hours")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--any-checkpoint", action="store_true", default=not settings.on_space,
        help="let visitors load any Hub id (the default on your own machine)",
    )  # fmt: skip
    choice.add_argument(
        "--catalogue-only", action="store_false", dest="any_checkpoint",
        help="offer only the catalogue (the default on a Space)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="also load pytorch_model.bin files (only tensors are read from them)",
    )
    parser.add_argument(
        "--preprocessing",
        metavar="PRESET|FILE",
        help=f"how --checkpoint wants its photos: {', '.join(PRESETS)}, or a processor's file",
    )
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="class names for --checkpoint, from a file"
    )
    return parser.parse_args()


def on_own_machine(host: str | None, share: bool, on_space: bool) -> bool:
    """Whether the page is reachable only from this machine; only then may it read local folders."""
    if share or on_space:
        return False
    try:
        return ipaddress.ip_address(host or LOOPBACK).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    sys.exit(main())
