"""Runs a function in two processes that talk over gloo, and leaves none behind."""

import os
import socket
import subprocess
import sys

import pytest

from tests.conftest import REPO

PROCESSES = 2
TIMEOUT = 120
MAIN = """
import importlib, os, sys, torch
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
module, function, folder = sys.argv[1:]
getattr(importlib.import_module(module), function)(folder)
torch.distributed.barrier()
sys.stdout.flush()
os._exit(0)  # what gloo does when it is taken down may abort
"""


def environment(**variables):
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), *sys.path]), **variables}


def launch(module, function, folder):
    """Run `module.function(folder)` in each process, and return their exit codes and outputs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    try:
        for rank in range(PROCESSES):
            where = dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=PROCESSES)
            env = environment(**{key: str(value) for key, value in where.items()})
            command = [sys.executable, "-c", MAIN, module, function, str(folder)]
            started.append(subprocess.Popen(command, env=env, stdout=-1, stderr=subprocess.STDOUT, text=True))
        outputs = [process.communicate(timeout=TIMEOUT)[0] for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    return [(process.returncode, output) for process, output in zip(started, outputs)]


def check(results):
    for code, output in results:
        assert code == 0, output


@pytest.fixture
def in_two_processes(request, tmp_path):
    """Run ``function(folder)`` of the test's module in each process, and return the folder."""

    def run(function):
        check(launch(request.module.__name__, function.__name__, tmp_path))
        return tmp_path

    return run
