"""The device to train on."""

from __future__ import annotations

import torch

from optimzoo.errors import ConfigError, shown


def find_device(device: str | torch.device | None) -> torch.device:
    """Return the device asked for, else an accelerator if there is one, else the CPU.

    Raises:
        ConfigError: torch knows no such device, or this machine has none.
    """
    if device is not None:
        try:
            return torch.empty(0, device=torch.device(device)).device
        except Exception as error:  # each backend has its own way of saying that it is not there
            reason = (str(error) or type(error).__name__).splitlines()[0][:300]
            raise ConfigError(f"{shown(str(device))} cannot be trained on: {reason}", "device") from error
    for kind, available in (
        ("cuda", torch.cuda.is_available()),
        ("mps", torch.backends.mps.is_available()),
        ("xpu", torch.xpu.is_available()),
    ):
        if available:
            return torch.device(kind)
    return torch.device("cpu")
