"""Every code block of README.md, and every Python block of the pages in docs, runs.

A block with a file name after its language is written to that file; Python without one is run; of shell lines,
`optimzoo` is run, `make` is looked up, and the extras of `pip install` are compared with pyproject.toml.
"""

import csv
import re
import shlex
import subprocess

import pytest
import torch

from optimzoo_plugins.library import libraries
from tests.conftest import REPO
from tests.install import pip_install


def blocks_of(page):
    """The fenced blocks of a page: the words after the fence, and the text."""
    return [(head.split(), body) for head, body in re.findall(r"^```(\w+[^\n]*)\n(.*?)^```$", page, re.M | re.S)]


README = (REPO / "README.md").read_text()
BLOCKS = blocks_of(README)
LINES = [
    shlex.split(line, comments=True)
    for (language, *_), body in BLOCKS
    if language == "sh"
    for line in body.splitlines()
]
PROGRAMS = [
    pytest.param(body, id=f"{page.name}-{number}")
    for page in [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
    for number, ((language, *name), body) in enumerate(blocks_of(page.read_text()))
    if language == "python" and not name
]


def of(command):
    return [line for line in LINES if line and line[0] == command]


@pytest.fixture
def project(tmp_path):
    """A folder with the files that the README shows."""
    for (_, *name), body in BLOCKS:
        if name:
            (tmp_path / name[0]).write_text(body)
    return tmp_path


def test_every_block_is_of_a_kind_that_is_run():
    assert {language for (language, *_), _ in BLOCKS} == {"sh", "python", "toml"}
    assert {line[0] for line in LINES if line} == {"make", "pip", "optimzoo"}


def test_the_commands_train_check_and_list(project, optimzoo):
    for _, *arguments in of("optimzoo"):
        optimzoo(*arguments)
    with (project / "runs" / "train" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["val_loss"]) < 0.1
    assert min(float(row["lr"]) for row in rows if 101 <= int(row["iter"]) <= 150 and row["lr"]) > 1e-3, "resumed"
    loaded = re.search(r'torch\.load\("(.*?)"\)\["model"\]', README)[1]
    assert set(torch.load(project / loaded)["model"]) == {"weight", "bias"}
    assert (project / "runs" / "8bit" / "curves.png").exists()


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_programs_run(program, run, forks):
    told = "default,ignore:`torch.jit:DeprecationWarning"  # ignite, torchao
    done = run("-c", program, forks=forks, PYTHONWARNINGS=told)
    assert "Warning" not in done.stderr


def test_the_plugin_works_when_it_is_installed(project, optimzoo, tmp_path):
    pip_install(project, tmp_path / "site")
    assert "torch.optim:NAdam" in optimzoo("show", "Nova", path=[tmp_path / "site"]).stdout


def test_the_make_targets_exist():
    for _, target in of("make"):
        subprocess.run(["make", "--dry-run", target], cwd=REPO, check=True, capture_output=True)


def test_the_extras_exist():
    extras = set(re.findall(r"^(\w+) = \[", (REPO / "pyproject.toml").read_text().partition("optional-dep")[2], re.M))
    comments = re.findall(r"pip install (?:-e )?'\.\[(\w+)\]'\s+# or (.*?)(?:: see docs/libraries.md)?$", README, re.M)
    assert comments
    for first, others in comments:
        assert {first, *re.split(r",\s*", others)} <= extras


def test_the_optimizers_and_libraries_are_counted_right():
    counts = {(sum(len(row["names"]) for row in libraries().values()), len(libraries()))}
    told = re.findall(r"(\d+) optimizers of (\d+) libraries", README + (REPO / "CHANGELOG.md").read_text())
    assert {(int(names), int(of)) for names, of in told} == counts
    assert len(told) == 3
