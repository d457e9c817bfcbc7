"""Commands in processes that have torch imported already: each is a fork of one that has done nothing else.

To import torch and what its first optimizer asks for takes seconds, and most tests of the command line nothing else.
Nothing of optimzoo's is imported before the fork: a command finds its modules as a new process does.
"""

import atexit
import contextlib
import importlib
import json
import os
import random
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import types
import warnings
from pathlib import Path

IMPORTED = ("torch._dynamo", "torch.distributed.fsdp", "matplotlib.pyplot", "pluggy", "rich.console", "typer", "yaml")


class Forks:
    """A process that waits for commands, and runs each in a fork of its own."""

    def __init__(self):
        self._server = None

    def start(self):
        """Start the process, which imports torch meanwhile."""
        asked, self._asks = os.pipe()
        self._answers, answer = os.pipe()
        environment = {**os.environ, "PYTHONWARNINGS": "default", "PYTHONPATH": ""}
        command = [sys.executable, __file__, str(asked), str(answer)]
        self._server = subprocess.Popen(
            command, env=environment, pass_fds=(asked, answer), stdin=subprocess.DEVNULL, start_new_session=True
        )
        os.close(asked)
        os.close(answer)

    def run(self, words, cwd, env, timeout):
        """Run what ``python`` does with these words, the first of which is ``-m`` or ``-c``."""
        if self._server is None:
            self.start()
        with tempfile.TemporaryDirectory() as folder:
            streams = [Path(folder, name) for name in ("out", "err")]
            command = dict(words=words, cwd=str(cwd), env=env, streams=[*map(str, streams)])
            os.write(self._asks, json.dumps(command).encode() + b"\n")
            if not select.select([self._answers], [], [], timeout)[0]:
                self.close()
                raise subprocess.TimeoutExpired(words, timeout)
            code = int(os.read(self._answers, 100))
            told = (stream.read_text(encoding="utf-8", errors="backslashreplace") for stream in streams)
            return subprocess.CompletedProcess(words, code, *told)

    def close(self):
        """End the process, and what it has started."""
        if self._server is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()
        os.close(self._asks)
        os.close(self._answers)
        self._server = None


def serve(asked, answer):
    """Run commands until nobody can ask for more."""
    for name in IMPORTED:
        importlib.import_module(name)
    installed = [path for path in sys.path[1:] if path]
    with os.fdopen(asked) as commands:
        for line in commands:
            child = os.fork()
            if not child:
                become(json.loads(line), installed, (asked, answer))
            _, status = os.waitpid(child, 0)
            os.write(answer, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def become(command, installed, pipes):
    """Be the process of a command, to its end."""
    for pipe in pipes:
        os.close(pipe)
    for number, path in enumerate(command["streams"], 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(command["cwd"])
    os.environ.clear()
    os.environ.update(command["env"])
    sys.path[:] = [command["cwd"], *filter(None, command["env"]["PYTHONPATH"].split(os.pathsep)), *installed]
    how, what, *arguments = command["words"]
    sys.argv[:] = [how, *arguments]
    for option in command["env"]["PYTHONWARNINGS"].split(",")[1:]:
        warnings._setoption(option)
    random.seed()
    code = 1
    try:
        if how == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(what, "<string>", "exec"), vars(sys.modules["__main__"]))
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, (int, type(None))):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
