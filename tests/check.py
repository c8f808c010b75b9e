"""All checks, in one command: browser and oracles are installed, then lint, types and tests.

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


def install_oracles() -> int:
    """timm and torchvision, without their dependencies, so that torch stays the one it is."""
    install = ("pip", "install", "--quiet", "--no-deps", "-r", "requirements-oracles.txt")
    return subprocess.run([sys.executable, "-m", *install], cwd=ROOT, check=False).returncode


def main() -> int:
    """Run every check, also after one has failed; status 1 if any has."""
    if install_oracles():
        sys.stdout.write("The oracles of requirements-oracles.txt cannot be installed.\n")
        return 1
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
