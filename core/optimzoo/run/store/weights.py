"""Weights to begin with, from a file that another run or program has left."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from optimzoo.errors import CheckpointError, ConfigError, OptimzooWarning, shown
from optimzoo.files import read_plain
from optimzoo.run.store.work_dir import path_of
from optimzoo.traces import describe_error
from optimzoo.wrappers.state_checks import listed

logger = logging.getLogger("optimzoo.run")

INSIDE = ("state_dict", "model")
"""Keys of a checkpoint under which the weights may be: mmengine's and Lightning's, and those of this package."""


def weights_file(value: Any) -> Path:
    """Return the file that ``load_from`` names.

    Raises:
        ConfigError: It is no path of a file.
    """
    path = path_of(value, "load_from", "a file of weights")
    if "://" in str(value):
        raise ConfigError(f"nothing is downloaded: fetch {shown(str(value))} and name the file", "load_from")
    return path


def load_weights(model: nn.Module, path: Path) -> None:
    """Load into ``model`` what it has of the weights in a file; a warning names the others.

    Args:
        model: The model, which keeps the weights that are not in the file, or have another shape there.
        path: A state dict, or a checkpoint with one under ``state_dict`` or ``model``, as torch writes it; read
            with ``weights_only=True``. The ``module.`` that DistributedDataParallel puts before names is left out.

    Raises:
        CheckpointError: The file is missing, cannot be read so, or has none of the weights.
    """
    state, own = _read(path), model.state_dict()
    differ = {
        name: f"{name} {tuple(value.shape)}, which is {tuple(own[name].shape)} in the model"
        for name, value in state.items()
        if isinstance(own.get(name), Tensor) and value.shape != own[name].shape
    }
    try:
        told = model.load_state_dict({name: v for name, v in state.items() if name not in differ}, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"load_from: {path} does not fit the model: {describe_error(error)}") from error
    missing = [name for name in told.missing_keys if name not in differ]
    count = len(own) - len(missing) - len(differ)
    if count <= 0:
        raise CheckpointError(
            f"load_from: {path} has none of the model's weights: it has {listed(state, quote=False)}, and the model "
            f"{listed(own, quote=False)}"
        )
    logger.info("loaded %d of the model's %d tensors from %s", count, len(own), path)
    notes = {"not in the file": missing, "not in the model": told.unexpected_keys, "of another shape": differ.values()}
    if any(notes.values()):
        told_so = "; ".join(f"{what}: {listed(names, quote=False)}" for what, names in notes.items() if names)
        message = f"load_from: {path} gives {count} of the model's {len(own)} tensors. {told_so}"
        warnings.warn(message, OptimzooWarning, stacklevel=2)


def _read(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file by the names that they have in a model."""
    state = read_plain(path, "its state dict", "load_from")
    for key in INSIDE:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not (isinstance(state, Mapping) and any(isinstance(value, Tensor) for value in state.values())):
        raise CheckpointError(f"load_from: {path} holds no state dict, itself or under {' or '.join(INSIDE)}")
    return {str(name).removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
