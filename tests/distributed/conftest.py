"""Runs a function of a test module in two processes that talk over gloo."""

import os
import socket
import subprocess
import sys

import pytest

from tests.conftest import REPO

PROCESSES = 2
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


@pytest.fixture
def in_two_processes(request, tmp_path):
    """Run ``function(folder)`` of the test's module in each process, and return the folder."""

    def run(function):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = []
        try:
            for rank in range(PROCESSES):
                environment = {
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join([str(REPO), *sys.path]),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                    "RANK": str(rank),
                    "WORLD_SIZE": str(PROCESSES),
                }
                command = [sys.executable, "-c", MAIN, request.module.__name__, function.__name__, str(tmp_path)]
                started.append(
                    subprocess.Popen(command, env=environment, stdout=-1, stderr=subprocess.STDOUT, text=True)
                )
            outputs = [process.communicate(timeout=120)[0] for process in started]
        finally:
            for process in started:
                process.kill()
                process.wait()
        for process, output in zip(started, outputs):
            assert process.returncode == 0, output
        return tmp_path

    return run
