"""One measurement in a process of its own: what it prints, writes, changes or breaks is gone with it."""

from __future__ import annotations

import faulthandler
import math
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from optimzoo.traces import describe_error
from optimzoo.vetting.record import brief


class ChildError(Exception):
    """The process raised an error (``raised``), died or took too long; the message says which."""

    raised = False


def in_child(function: Callable[..., Any], *arguments: Any, seconds: float, cpu: float = math.inf) -> Any:
    """Return ``function(*arguments)``, called in a forked process with one thread, seeded, in an empty folder.

    Raises:
        ChildError: It raised, died, or took longer than ``seconds`` by the clock or ``cpu`` seconds of work.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    process = context.Process(target=_call, args=(there, folder.name, cpu, function, arguments), daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's, about forking beside threads: none of them is used here
        process.start()
    there.close()
    try:
        if not here.poll(seconds):
            raise ChildError(f"it took longer than {seconds:.0f} s")
        raised, answer = here.recv()
    except EOFError:
        process.join()
        slow = process.exitcode == -signal.SIGXCPU
        why = f"it took longer than {cpu:.0f} s" if slow else f"its process died with exit code {process.exitcode}"
        raise ChildError(why) from None
    finally:
        process.kill()
        process.join()
        here.close()
        folder.cleanup()
    if raised:
        error = ChildError(answer)
        error.raised = True
        raise error
    return answer


def _call(there: Connection, folder: str, cpu: float, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    import torch

    sys.path = [os.path.abspath(place) for place in sys.path]
    os.chdir(folder)
    faulthandler.disable()
    if cpu < math.inf:
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(cpu), resource.RLIM_INFINITY))
    output = tempfile.TemporaryFile("w")  # noqa: SIM115
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    sys.stdout = sys.stderr = output
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    if "torch._dynamo" in sys.modules:  # a step that compiles itself is measured as it is written
        torch._dynamo.config.disable = True
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        answer = False, function(*arguments)
    except (Exception, SystemExit) as error:
        answer = True, brief(describe_error(error))
    there.send(answer)
    os._exit(0)
