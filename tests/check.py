"""All checks, in one command: browser and oracles are installed, then lint, types and tests.

python tests/check.py            everything, as CI runs it
python tests/check.py --quick    lint, types and the fast tests, for daily work
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser.chromium import find_or_install  # noqa: E402

LINT = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("pyright",),
)
# Two workers for two cores; the tests of one file share their fixtures, and stay in one worker.
PYTEST = ("pytest", "-q", "-n", "2", "--dist", "loadfile", "--durations=15")
# Minimum coverage of lines and branches in percent.
COVERAGE_FLOOR = 90
EVERYTHING = (
    *PYTEST,
    "--cov=vit_demo",
    "--cov-branch",
    "--cov-report=term",
    f"--cov-fail-under={COVERAGE_FLOOR}",
)
FAST = (*PYTEST, "-m", "not browser and not slow and not shared", *(
    f"tests/test_{name}.py"
    for name in (
        "analysis", "architecture", "captions", "checks", "explanations", "figures", "handlers",
        "layers", "photo", "predictions", "preprocess", "queries", "recipe", "relevance",
        "results", "rollout", "trace", "uploads", "vit",
    )
))  # fmt: skip


def install_oracles() -> int:
    """Install timm and torchvision without dependencies, so that the torch version is kept."""
    install = ("pip", "install", "--quiet", "--no-deps", "-r", "requirements-oracles.txt")
    return subprocess.run([sys.executable, "-m", *install], cwd=ROOT, check=False).returncode


def parse() -> argparse.Namespace:
    """Parse which checks to run."""
    parser = argparse.ArgumentParser(description="Lint, types and tests.")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="lint, types and the fast tests only: no browser, no downloads",
    )
    return parser.parse_args()


def main() -> int:
    """Run every check, even after a failure; exit status 1 if any failed."""
    quick = parse().quick
    if not quick:
        if install_oracles():
            sys.stdout.write("The oracles of requirements-oracles.txt cannot be installed.\n")
            return 1
        sys.stdout.write(f"browser: {find_or_install()}\n")
    failed = []
    for check in (*LINT, FAST if quick else EVERYTHING):
        sys.stdout.write(f"\n== {' '.join(check)}\n")
        sys.stdout.flush()
        if subprocess.run([sys.executable, "-m", *check], cwd=ROOT, check=False).returncode:
            failed.append(check[0])
    sys.stdout.write(f"\nfailed: {', '.join(failed)}\n" if failed else "\nAll checks passed.\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
