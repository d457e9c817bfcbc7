"""Runs functions in processes that talk over gloo, all forked from here, where everything is imported."""

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import traceback

import torch

import tests.distributed.scenarios  # noqa: F401  for what it imports

TIMEOUT = 120


def serve():
    """Run each job of the standard input, and print the exit codes and outputs of its processes."""
    for line in sys.stdin:
        print(json.dumps(run(*json.loads(line))), flush=True)


def run(module, function, folder, port, processes):
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(processes)]
        started = []
        for rank, output in enumerate(outputs):
            child = os.fork()
            if child == 0:
                where = dict(
                    MASTER_ADDR="127.0.0.1", MASTER_PORT=port, RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=processes
                )
                os.environ.update({key: str(value) for key, value in where.items()})
                for stream in (1, 2):
                    os.dup2(output.fileno(), stream)
                signal.alarm(TIMEOUT)
                work(module, function, folder)
            started.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in started]
        for output in outputs:
            output.seek(0)
        return [(code, output.read()) for code, output in zip(codes, outputs)]


def work(module, function, folder):
    code = 1
    try:
        torch.distributed.init_process_group("gloo")
        getattr(importlib.import_module(module), function)(folder)
        torch.distributed.barrier()
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)  # what gloo does when it is taken down may abort


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve()
