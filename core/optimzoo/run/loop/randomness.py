"""The random number generators of a run: seeding them, and saving and restoring their state."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy
import torch

from optimzoo import calls
from optimzoo.errors import ConfigError, shown
from optimzoo.values import whole_number


def seed_of(randomness: Mapping[str, Any] | None) -> int:
    """Return the ``seed`` in a config's ``randomness``, or a drawn one.

    Raises:
        ConfigError: It is not a dict with a seed.
    """
    if not isinstance(randomness, (Mapping, type(None))):
        raise ConfigError(f"a dict such as {{'seed': 0}} is wanted, got {shown(randomness)}", "randomness")
    return calls.call(_seed, randomness or {}, "randomness", label="randomness")  # type: ignore[no-any-return]


def _seed(seed: int | None = None) -> int:
    if seed is None:
        return random.SystemRandom().randrange(2**31)
    if whole_number(seed, "seed", 0) >= 2**63:  # torch takes 64 bits, and an epoch is added
        raise ConfigError(f"a whole number below 2**63 is wanted, got {seed}", "seed")
    return seed


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """Return the state of every random number generator of this process, in plain numbers, lists and tensors."""
    version, python, gauss = random.getstate()
    name, keys, position, has_gauss, cached = numpy.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": [version, list(python), gauss],
        "numpy": [str(name), [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
    }
    for device in (torch.cuda, torch.xpu):
        if device.is_available():
            state[device.__name__] = device.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["torch.mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore what ``random_state`` returned."""
    version, python, gauss = state["python"]
    random.setstate((version, tuple(python), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    numpy.random.set_state((name, numpy.array(keys, dtype=numpy.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    for device in (torch.cuda, torch.xpu):
        if device.__name__ in state and device.is_available():
            device.set_rng_state_all(state[device.__name__][: device.device_count()])  # there may be fewer now
    if "torch.mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["torch.mps"])


class RandomStates:
    """The states of the generators of this process that a run comes back to.

    Attributes:
        epoch_start: That at the start of the epoch, which what shuffles the data may be drawn from.
        now: That to go on with; None before training.
    """

    def __init__(self) -> None:
        self.epoch_start = random_state()
        self.now: Mapping[str, Any] | None = None

    def state_dict(self, inside: bool) -> dict[str, Any]:
        """Return the states as they are now, inside an epoch or between two."""
        now = random_state()
        return {"now": now, "epoch_start": self.epoch_start if inside else now}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned, once it is seen that the generators take it."""
        before = random_state()
        try:
            for each in (state["epoch_start"], state["now"]):
                set_random_state(each)
        finally:
            set_random_state(before)
        self.epoch_start, self.now = state["epoch_start"], state["now"]
