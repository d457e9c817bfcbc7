"""Several processes: how they find each other, what they exchange, and how the loss of one is told."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, _get_default_store

from optimzoo.errors import ConfigError, LostProcessError, OptimzooError
from optimzoo.run.spread.processes import OneProcess, launched
from optimzoo.values import is_number

T = TypeVar("T")

BEAT = 0.5
"""Seconds between two signs of life of a process."""

RUNS = itertools.count()
"""Tells what the processes wrote for one run from what they wrote for another."""


class Processes(OneProcess):
    """The processes that train one model together, seen from one of them.

    They are what torchrun describes in ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT``;
    without it there is one. They talk through gloo on the CPU and NCCL on CUDA.

    Args:
        device: The kind of device to train on.
        timeout: Seconds to wait for the others in an exchange.

    Raises:
        ConfigError: There is no backend for the device, or not a device for each process.
    """

    def __init__(self, device: torch.device, timeout: float) -> None:
        self.device = _device_of_this_process(device)
        self.timeout = timeout
        if not dist.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo"
            wait = timedelta(seconds=timeout)
            if "RANK" in os.environ:
                dist.init_process_group(backend, timeout=wait)
            else:
                dist.init_process_group(backend, timeout=wait, store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._averaged: list[str] | None = None

    def mean(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Average by one all-reduce, whose names are compared first if a process gives others than the last time."""
        names = sorted(k for k, v in values.items() if is_number(v) or (isinstance(v, Tensor) and v.numel() == 1))
        if self.largest(int(names != self._averaged)):
            first, *others = self.gather(names)
            for rank, theirs in enumerate(others, 1):
                if theirs != first:
                    differing = ", ".join(sorted({*first} ^ {*theirs}))
                    raise OptimzooError(
                        f"every process must return the same values to log, and only one of ranks 0 and {rank} has "
                        f"{differing}"
                    )
            self._averaged = names
        if not names:
            return values
        numbers = (torch.as_tensor(values[name], dtype=torch.float64, device=self.device) for name in names)
        flat = torch.stack([number.reshape(()) for number in numbers])
        dist.all_reduce(flat)
        return {**values, **dict(zip(names, flat / self.size))}

    def largest(self, value: int) -> int:
        """Exchange on the CPU, so that nothing waits for another device."""
        found = torch.tensor(value)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def gather(self, value: T) -> list[T]:
        """Exchange by pickle."""
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def on_first(self, function: Callable[[], T]) -> T:
        """Wait until every process has come here, and send the answer around."""
        dist.barrier()
        answer: list[Any] = [None, None]
        error: Exception | None = None
        if self.rank == 0:
            try:
                answer[0] = function()
            except Exception as caught:
                error = caught
                answer[1] = _told(caught)
        dist.broadcast_object_list(answer)
        if error is not None:
            raise error
        if answer[1] is not None:
            raise LostProcessError(f"rank 0 stopped: {answer[1]}")
        returned: T = answer[0]
        return returned

    @contextmanager
    def together(self) -> Iterator[None]:
        """Give signs of life, and look for those of the others when an exchange fails."""
        if self.size == 1:
            yield
            return
        life = _Life(self.rank, self.size, self.timeout)
        life.start()
        try:
            yield
            dist.barrier()
        except BaseException as error:
            culprit = life.culprit(error)
            if culprit:
                raise LostProcessError(culprit) from error
            raise
        finally:
            life.over.set()


class _Life(threading.Thread):
    """Gives signs of life in the store that the launcher keeps, and finds who gives none or tells of an error.

    The main thread cannot: it waits, perhaps for ever, in an exchange with the process that is gone.
    """

    def __init__(self, rank: int, size: int, timeout: float) -> None:
        super().__init__(name="optimzoo-life", daemon=True)
        self.rank, self.size, self.timeout = rank, size, timeout
        self.over = threading.Event()
        self.store = PrefixStore(f"optimzoo run {next(RUNS)}", _get_default_store())
        self.heard = ""

    def run(self) -> None:
        seen, since, silent = self._beats(), time.monotonic(), list[int]()
        while not self.over.wait(BEAT):
            try:
                self.store.add(f"beat {self.rank}", 1)
                self._hear()
                if time.monotonic() - since < self.timeout / 3:
                    continue
                beats, since = self._beats(), time.monotonic()
                silent = [rank for rank in range(self.size) if beats[rank] == seen[rank] > 0]
                seen = beats
            except RuntimeError:
                silent = [0]
            # The main thread hears of it by itself under gloo; under NCCL it may never return.
            if silent and not self.over.wait(self.timeout / 3):
                print(f"error: {self.heard or _gone(silent)}; rank {self.rank} leaves", file=sys.stderr, flush=True)
                os._exit(1)

    def culprit(self, error: BaseException) -> str:
        """Return which process is to blame for ``error``; empty if it is this one, which then tells the others."""
        try:
            if not _is_of_an_exchange(error):
                self._tell(f"rank {self.rank} stopped: {_told(error)}")
                if self.rank == 0:  # the store may go with it
                    time.sleep(2 * BEAT)
                return ""
            self._hear()
            if not self.heard:
                before = self._beats()
                time.sleep(4 * BEAT)
                self._tell(_gone(rank for rank, (a, b) in enumerate(zip(before, self._beats())) if a == b))
        except RuntimeError:  # the store went with the process that keeps it
            return self.heard or _gone([0])
        return self.heard

    def _tell(self, reason: str) -> None:
        """Give all processes the reason to stop, unless there is one."""
        if reason:
            self.store.compare_set("reason", "", reason)
            self._hear()

    def _hear(self) -> None:
        if not self.heard and self.store.check(["reason"]):
            self.heard = self.store.get("reason").decode()

    def _beats(self) -> list[int]:
        return [self.store.add(f"beat {rank}", 0) for rank in range(self.size)]


def _gone(ranks: Iterable[int]) -> str:
    named = ", ".join(f"rank {rank}" for rank in ranks)
    lost = f"{named} ended without a word, killed or out of memory; its own output or the system's log may tell why"
    return lost if named else ""


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _is_of_an_exchange(error: BaseException) -> bool:
    """Whether another process may be the cause; gloo's errors are plain RuntimeErrors that name its source."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _device_of_this_process(device: torch.device) -> torch.device:
    size, local = launched(), int(os.environ.get("LOCAL_RANK", 0))
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise ConfigError(f"several processes train on 'cpu' or 'cuda', not on {str(device)!r}", "device")
    if device.index is not None and size > 1:
        raise ConfigError(f"each process takes a GPU of its own: write 'cuda', not {str(device)!r}", "device")
    index = device.index if device.index is not None else local
    if index >= torch.cuda.device_count():
        raise ConfigError(f"this is process {index} on a machine with {torch.cuda.device_count()} GPUs", "device")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
