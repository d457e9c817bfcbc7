"""The device to train on."""

from __future__ import annotations

import torch

from optimzoo.errors import ConfigError


def find_device(device: str | torch.device | None) -> torch.device:
    """Return the device asked for, else an accelerator if there is one, else the CPU.

    Raises:
        ConfigError: torch knows no such device.
    """
    if device is not None:
        try:
            return torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise ConfigError(f"{device!r} is not a device: {str(error).splitlines()[0]}", "device") from error
    for kind, available in (
        ("cuda", torch.cuda.is_available()),
        ("mps", torch.backends.mps.is_available()),
        ("xpu", torch.xpu.is_available()),
    ):
        if available:
            return torch.device(kind)
    return torch.device("cpu")
