"""The processes of a run, seen from one of them. Where there is only one, nothing is exchanged."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def launched() -> int:
    """Return how many processes the launcher has started for this run."""
    return int(os.environ.get("WORLD_SIZE", 1))


class OneProcess:
    """A run of one process, which exchanges nothing.

    Args:
        device: The device to train on.

    Attributes:
        rank: The number of this process, counted from 0.
        size: How many there are.
        device: The device of this process.
    """

    rank, size = 0, 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def mean(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``values`` with each scalar averaged over the processes.

        Nothing waits for the device.

        Raises:
            OptimzooError: The processes give different names.
        """
        return values

    def largest(self, value: int) -> int:
        """Return the largest of the values that the processes give."""
        return value

    def gather(self, value: T) -> list[T]:
        """Return the ``value`` of every process, in their order."""
        return [value]

    def total(self, values: Mapping[str, Any]) -> dict[str, float]:
        """Return the sum over the processes of each value; a process may lack some."""
        found: dict[str, float] = {}
        for each in self.gather({name: float(value) for name, value in values.items()}):
            for name, value in each.items():
                found[name] = found.get(name, 0.0) + value
        return found

    def on_first(self, function: Callable[[], T]) -> T:
        """Return, in every process, what ``function`` returns in the first, which alone calls it.

        Raises:
            LostProcessError: It raised; the first process raises the error itself.
        """
        return function()

    def together(self) -> AbstractContextManager[None]:
        """Return the context for what every process runs to its end; it names the one that does not.

        Raises:
            LostProcessError: Another process failed or ended.
        """
        return nullcontext()
