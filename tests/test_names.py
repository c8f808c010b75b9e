"""The code speaks the field's language: names that only its authors knew do not come back."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN = Path(__file__).name

# As identifiers, anywhere. Keys of JSON files, which are frozen, are strings.
FORMER_NAMES = frozenset(
    [
        "Sharing",
        "pull",
        "carry",
        "straight",
        "Watched",
        "watched",
        "leave",
        "raising",
        "answering",
        "knob",
        "knobs",
        "suited",
        "why_not",
        "Case",
        "Marks",
        "Trust",
        "Trial",
        "Judged",
        "Likeness",
        "Forgetting",
        "Study",
        "Look",
        "Stored",
        "Outline",
        "Offer",
        "hollow",
        "fit",
        "MisfitError",
        "dice",
        "World",
        "leads",
        "Strangeness",
        "told_apart",
        "strangers",
        "_laid_over",
        "_set_in",
        "Chosen",
        "_Errand",
        "settle",
        "silence",
        "lend_letters",
        "MENDABLE",
        "our_names",
        "gathered",
        "hiding",
        "learned",
    ]
)
FORMER_MODULES = (
    "flow", "present", "watched", "hiding", "learned", "marks", "randomise", "stored", "outline",
    "offer", "fit", "stated", "dice", "world", "saved", "strangers", "inspection", "finish",
)  # fmt: skip
FORMER_OPTIONS = ("--trust", "--strangers")

FILES = sorted(
    path
    for folder in ("vit_demo", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != OWN
)
DOCUMENTS = [ROOT / "README.md", ROOT / "README.zh.md", ROOT / "CONTRIBUTING.md"]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))


def identifiers(text):
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def test_a_planted_name_is_found():
    assert identifiers("def dice(seed): return 'carry'") & FORMER_NAMES == {"dice"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_former_name_is_left_in_the_code(path):
    assert identifiers(path.read_text(encoding="utf-8")) & FORMER_NAMES == set()


def test_no_module_bears_a_former_name():
    stems = {path.stem for path in (ROOT / "vit_demo").rglob("*.py")}
    assert stems & set(FORMER_MODULES) == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_no_former_name_is_left_in_the_documents(path):
    text = path.read_text(encoding="utf-8")
    code = " ".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))
    found = set(re.findall(r"(?<![\"\w-])[A-Za-z_]\w*(?![\"\w-])", code)) & (FORMER_NAMES - {"fit"})
    assert found - {"strangers", "told_apart", "why_not"} == set(), "keys of JSON files stay"
    told = [line for line in text.splitlines() if any(o in line for o in FORMER_OPTIONS)]
    assert [line for line in told if "old name" not in line] == []
