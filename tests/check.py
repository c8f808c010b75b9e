"""All checks, in one command: a browser is found or installed, then lint, types and tests.

python tests/check.py
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser.chromium import find_or_install  # noqa: E402

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("pyright",),
    ("pytest", "-q", "--durations=15", "--cov=vit_demo", "--cov-branch", "--cov-report=term"),
)


def main() -> int:
    """Run every check, also after one has failed; status 1 if any has."""
    sys.stdout.write(f"browser: {find_or_install()}\n")
    failed = []
    for check in CHECKS:
        sys.stdout.write(f"\n== {' '.join(check)}\n")
        sys.stdout.flush()
        if subprocess.run([sys.executable, "-m", *check], cwd=ROOT, check=False).returncode:
            failed.append(check[0])
    sys.stdout.write(f"\nfailed: {', '.join(failed)}\n" if failed else "\nAll checks passed.\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
