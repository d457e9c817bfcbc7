"""Two processes that run what a test asks of them, and the same in one."""

import json
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from optimzoo.names.zoo import plugins
from tests.core.run.plugin import Plugin

from .processes import environment, free_port
from .scenarios import WRAPPERS, everything
from .task import trained


@pytest.fixture(scope="session")
def launch():
    """Run ``function(folder)`` of a module in each process, and return their exit codes and outputs."""
    command = [sys.executable, "-m", "tests.distributed.launcher"]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with subprocess.Popen(command, env=environment(), **pipes) as process:

        def run(function, folder, processes=2):
            job = [function.__module__, function.__name__, str(folder), free_port(), processes]
            print(json.dumps(job), file=process.stdin)
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield run
        process.stdin.close()  # which ends it


@pytest.fixture(scope="session")
def folder(launch, once):
    """What the scenarios find in one process and in two, all in one launch, since starting processes takes longest."""

    def fill(folder):
        plugins.add(Plugin(), "hooked")
        for name, settings in WRAPPERS.items():
            torch.save(trained(folder / f"single-{name}", **settings), folder / f"single-{name}.pt")
        plugins.remove("hooked")
        torch.save(trained(folder / "single"), folder / "single.pt")
        for code, output in launch(everything, folder):
            assert code == 0, output

    return once("distributed", fill)


@pytest.fixture(scope="session")
def found(folder):
    """Return what a scenario found."""
    return lambda name: torch.load(folder / f"{name}.pt")


@pytest.fixture(scope="session")
def single(found):
    return found("single")


@pytest.fixture
def _alone():
    """Leave the group of one process that a strategy for several makes when it is used in one."""
    yield
    if dist.is_initialized():
        dist.destroy_process_group()
