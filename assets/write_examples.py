"""Write the explorer's data of the three examples, so that the page shows them before any run.

    python assets/write_examples.py

Run it after a change of the bundled checkpoint or of the explorer's data.
tests/test_examples.py compares the files with a fresh run.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import vit_demo  # noqa: E402
from vit_demo.analysis import EXAMPLES  # noqa: E402
from vit_demo.checkpoints import DEFAULT  # noqa: E402
from vit_demo.explanations import DEFAULT_METHOD  # noqa: E402
from vit_demo.ui.explorer.payload import explorer_data  # noqa: E402
from vit_demo.ui.page import EXAMPLES_FOLDER  # noqa: E402


def example_data(name: str) -> dict[str, Any]:
    """What the page sends after a run with this example and the bundled checkpoint."""
    prepared = vit_demo.prepare(vit_demo.load(DEFAULT), EXAMPLES_FOLDER / name)
    return explorer_data(prepared.traced, [prepared.explain(DEFAULT_METHOD)])


def file_of(name: str) -> Path:
    """Where the data of an example is kept."""
    return EXAMPLES_FOLDER / f"{Path(name).stem}.json"


def main() -> None:
    """Write one file for each example."""
    for name in EXAMPLES:
        content = json.dumps(example_data(name), ensure_ascii=False, separators=(",", ":"))
        file_of(name).write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
