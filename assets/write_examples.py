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
from vit_demo.analysis import EXAMPLES, example_lenses  # noqa: E402
from vit_demo.checkpoints import DEFAULT  # noqa: E402
from vit_demo.explanations import DEFAULT_METHOD  # noqa: E402
from vit_demo.faithfulness import AUTOMATIC_STEPS  # noqa: E402
from vit_demo.ui.explorer.lens import lens_data  # noqa: E402
from vit_demo.ui.explorer.payload import MOST_CLASSES, explorer_data, trust_data  # noqa: E402
from vit_demo.ui.page import EXAMPLES_FOLDER  # noqa: E402


def example_data(name: str) -> dict[str, Any]:
    """What the page sends after a run with this example, and what it then asks for by itself."""
    checkpoint = vit_demo.load(DEFAULT)
    prepared = vit_demo.prepare(checkpoint, EXAMPLES_FOLDER / name)
    analysis = prepared.explain(DEFAULT_METHOD)
    lens = lens_data(prepared.traced, analysis, example_lenses(checkpoint), MOST_CLASSES)
    trust = trust_data(prepared.scores_vs_random(analysis, AUTOMATIC_STEPS), analysis)
    return {**explorer_data(prepared.traced, [analysis]), "lens": lens, "trust": trust}


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
