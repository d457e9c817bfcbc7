"""Run the tests that go on in one process on the Pythons and torches that can be had, and write docs/versions.md.

    python -m bench.versions [--here] [--torch 2.13.0 2.14.1 ...]

Each pair gets a virtual environment of its own, which pip fills: the builds of torch for CUDA take gigabytes each.
`--here` takes the environment that runs this instead. The rows of other pairs stay on the page.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPO = Path(__file__).parent.parent
PAGE = REPO / "docs" / "versions.md"
PYTHONS = ["python3.11", "python3.12", "python3.13"]
TESTS = ["tests/core", "--ignore=tests/core/cli", "tests/parity", "tests/plugins", "tests/trainers"]
TESTS += [f"tests/vetting/test_{name}.py" for name in ("known", "size", "translate")]
STARTING = {"optimzoo", "run"}
"""The fixtures that run a command in a process of its own: what it starts costs more time than all other tests."""
HEAD = """# Versions

What the tests say that go on in one process, as `make versions` ran them on a CPU. The oldest Python is 3.11, the
oldest torch 2.7: before it, FSDP2 fails on a CPU. A test of a library is skipped where the library is not installed.

| Python | torch | passed | failed | skipped | for want of |
|---|---|---|---|---|---|
"""
ASK = "import platform, torch; print(platform.python_version(), torch.__version__.partition('+')[0])"
MISSING = re.compile(r"could not import '(\w+)|the library of (\w+) is not installed")


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave out the tests that run a command in a process of its own."""
    others = [item for item in items if STARTING.isdisjoint(item.fixturenames)]
    config.hook.pytest_deselected(items=[item for item in items if not STARTING.isdisjoint(item.fixturenames)])
    items[:] = others


def row(printed: str) -> str:
    """Return the cells that tell what pytest printed."""
    counts = dict.fromkeys(("passed", "failed", "error", "skipped"), 0)
    counts |= {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error|skipped)", printed)}
    wanted = sorted({f"`{one or other}`" for one, other in MISSING.findall(printed)})
    numbers = (counts["passed"], counts["failed"] + counts["error"], counts["skipped"])
    return f"{' | '.join(map(str, numbers))} | {', '.join(wanted)}"


def tried(python: str | Path) -> tuple[str, str]:
    """Run the tests with an interpreter, and return the versions and what there is to tell of them."""
    pair = subprocess.run([python, "-c", ASK], capture_output=True, text=True, check=True).stdout.split()
    print(f"Python {pair[0]}, torch {pair[1]}", file=sys.stderr)
    command = [python, "-m", "pytest", "-q", "-rsfE", "--tb=line", "-p", "no:cacheprovider", "-p", "bench.versions"]
    done = subprocess.run([*command, *TESTS], cwd=REPO, capture_output=True, text=True)
    print("\n".join(re.findall(r"^(?:FAILED|ERROR) .*", done.stdout, re.M)), done.stderr[-2000:], file=sys.stderr)
    return " | ".join(pair), row(done.stdout)


def tried_anew(python: str, torch_version: str) -> tuple[str, str]:
    """Make an environment, and try it; of one that cannot be made, that is told."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        inside = Path(folder, "bin", "python")
        command = [inside, "-m", "pip", "install", "--quiet", f"torch=={torch_version}", "-e", f"{REPO}[dev]"]
        if subprocess.run(command).returncode:
            return f"{python.removeprefix('python')} | {torch_version}", "cannot be installed | | | "
        return tried(inside)


def main() -> None:
    """Write docs/versions.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--torch", nargs="*", default=["2.7.1", "2.13.0", "2.14.1", "2.15.0"])
    arguments = parser.parse_args()
    rows = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines() if PAGE.is_file() else ():
        if cells := re.match(r"\| (\d\S* \| \S+) \| (.*) \|$", line):
            rows[cells[1]] = cells[2]
    pythons = [] if arguments.here else [python for python in PYTHONS if shutil.which(python)]
    trials = [(python, version) for python in pythons for version in arguments.torch]
    rows |= dict(tried_anew(*trial) for trial in trials) if trials else dict([tried(sys.executable)])
    body = "".join(f"| {pair} | {told} |\n" for pair, told in sorted(rows.items(), key=_in_order))
    PAGE.write_text(HEAD + body, encoding="utf-8")


def _in_order(item: tuple[str, str]) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", item[0])]


if __name__ == "__main__":
    main()
