"""Run the tests that need no further process on the Pythons and torches that can be had, and write docs/versions.md.

    python -m bench.versions [--here] [--torch 2.13.0 2.14.1 ...]

Each pair gets a virtual environment of its own.
`--here` takes the environment that runs this instead.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import torch

REPO = Path(__file__).parent.parent
PAGE = REPO / "docs" / "versions.md"
PYTHONS = ["python3.11", "python3.12", "python3.13"]
ROOMS = ["config", "constructors", "groups", "optimizers", "schedules", "wrappers"]
TESTS = [*(f"tests/core/{room}" for room in ROOMS), "tests/core/test_build.py", "tests/parity"]
HEAD = """# Versions

What the tests that need no further process say, as `make versions` ran them on a CPU. The oldest Python is 3.11, the
oldest torch 2.7: before it, FSDP2 fails on a CPU.

| Python | torch | passed | failed | date |
|---|---|---|---|---|
"""


def row(python: str | Path, torch_version: str) -> str:
    """Run the tests with an interpreter, and return a row of the table."""
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS], cwd=REPO, capture_output=True, text=True
    )
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    version = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    failed = counts.get("failed", 0) + counts.get("error", 0)
    if not counts:
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
    told = f"{failed}" if counts else "cannot run"
    return f"| {version} | {torch_version} | {counts.get('passed', 0)} | {told} | {date.today()} |"


def row_of_new(python: str, torch_version: str) -> str:
    """Make an environment, and return its row; one that cannot be made is a row that says so."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        inside = Path(folder, "bin", "python")
        command = [inside, "-m", "pip", "install", "--quiet", f"torch=={torch_version}", "-e", f"{REPO}[test]"]
        if subprocess.run(command).returncode:
            return f"| {python.removeprefix('python')} | {torch_version} | 0 | cannot be installed | {date.today()} |"
        return row(inside, torch_version)


def main() -> None:
    """Write docs/versions.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--torch", nargs="*", default=["2.7.1", "2.13.0", "2.14.1", "2.15.0"])
    arguments = parser.parse_args()
    if arguments.here:
        print(f"Python {platform.python_version()}, torch {torch.__version__}", file=sys.stderr)
        rows = [row(sys.executable, torch.__version__.partition("+")[0])]
    else:
        pythons = [python for python in PYTHONS if shutil.which(python)]
        rows = [row_of_new(python, version) for python in pythons for version in arguments.torch]
    PAGE.write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
