"""Fixtures shared by all tests."""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock  # which torch brings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several test processes run side by side
os.environ.pop("COLUMNS", None)  # which pytest-xdist sets in its own

import torch
from torch import nn

from tests.forked import Forks

REPO = Path(__file__).parent.parent


def pytest_configure(config):
    """Before there are several processes, let mmengine's yapf write its cache, which they would write all at once."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        importlib.import_module("mmengine.config")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _heard_signals():
    """A shell lets what it runs in the background ignore Ctrl-C, nohup the end of the terminal, and so would we."""
    heard = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        heard[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in heard.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def model():
    """A small network with convolutions, norms and a head."""
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 2))


@pytest.fixture
def run(tmp_path):
    """Run a command in a fresh process, in an empty folder; `path` goes before the installed packages."""

    def run_command(*command, path=(), cwd=tmp_path, check=True, forks=None, **env):
        paths = os.pathsep.join([*map(str, path), str(REPO / "core"), str(REPO / "plugins")])
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "default", **env}
        words = [*map(str, command)]
        if forks is None:
            done = subprocess.run(
                [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=240
            )
        else:
            done = forks.run(words, cwd, environment, timeout=240)
        if check and done.returncode:
            raise AssertionError(f"{command} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    return run_command


@pytest.fixture(scope="session")
def forks():
    """What runs commands in forks of a process that has torch imported."""
    with contextlib.closing(Forks()) as forks:
        yield forks


@pytest.fixture
def optimzoo(run, forks):
    """Run the command line, in a process that has torch imported unless its environment is to make a difference."""

    def run_optimzoo(*arguments, **kwargs):
        begins = ("PYTHON", "LC_", "TORCH")
        fork = None if any(key.startswith(begins) for key in kwargs) else forks
        return run("-m", "optimzoo", *arguments, forks=fork, **kwargs)

    return run_optimzoo


@pytest.fixture(scope="session")
def once(tmp_path_factory, worker_id):
    """Return a folder that one of the processes that run tests has filled for all of them."""
    base = tmp_path_factory.getbasetemp()

    def filled(name, fill):
        folder = (base if worker_id == "master" else base.parent) / name
        with FileLock(f"{folder}.lock"):
            if not (folder / "filled").exists():
                folder.mkdir(exist_ok=True)
                fill(folder)
                (folder / "filled").touch()
        return folder

    return filled


@pytest.fixture
def install_plugin(tmp_path):
    """Write a distribution with an entry point, as pip would leave it, and return the folder to put on the path."""

    def install(code, name="acme", module=None, distribution=None, version="1.0", points=None):
        module = module or f"{name}_plugin"
        distribution = distribution or f"{module.replace('_', '-')}"
        folder = tmp_path / f"site-{distribution}"
        info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(points or f"[optimzoo]\n{name} = {module}\n")
        return folder

    return install
