"""Resuming: which checkpoint to continue from, and what becomes of a config that changed since."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimzoo import calls
from optimzoo.errors import CheckpointError, OptimzooWarning, join_path
from optimzoo.names.entry import dotted
from optimzoo.run.members import members
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint
from optimzoo.run.store.work_dir import earlier_runs
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict

if TYPE_CHECKING:
    from optimzoo.run.runner import Runner

INCIDENTAL = (
    *("checkpoint", "code_dir", "device", "hooks", "log_interval"),
    *("metrics", "strategy", "train_cfg", "val_dataloader", "work_dir"),
)
"""Keys of a config that may change without a word: what has been trained so far does not depend on them."""

OF_THE_GROUPS = ("optim_wrapper.optimizer", "optim_wrapper.paramwise_cfg")
"""Where the settings of the parameter groups come from, which a checkpoint holds too."""

OF_THE_CHECKPOINT = ("randomness.seed",)
"""What a checkpoint decides in any case: the order of the data depends on it."""


def find_checkpoint(resume: bool | str | Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return the path and the content of the checkpoint to resume from.

    Args:
        resume: True for the newest in ``folder`` that can be read, or the path of one.
        folder: The folder of the run.

    Raises:
        CheckpointError: There is none, or the one that is named cannot be read.
    """
    if not isinstance(resume, bool):
        path = Path(resume)
        try:
            return path, load_checkpoint(path)
        except CheckpointError as error:
            older = [p for p in checkpoints_in(path.parent) if p.name < path.name]
            hint = f". The one before it is {older[-1]}" if older else ""
            raise CheckpointError(f"{error}{hint}") from error
    errors: list[CheckpointError] = []
    for path in reversed(checkpoints_in(folder)):
        try:
            state = load_checkpoint(path)
        except CheckpointError as error:
            errors.append(error)
            continue
        if errors:
            warnings.warn(f"{errors[0]}; resuming from {path} instead", OptimzooWarning, stacklevel=5)
        return path, state
    if errors:
        raise CheckpointError(f"none of the {len(errors)} checkpoints in {folder} can be read: {errors[0]}")
    aside = [path for run in earlier_runs(folder) for path in checkpoints_in(run)]
    hint = f". An earlier run left {aside[-1]}, which can be named to resume from" if aside else ""
    raise CheckpointError(f"there is no checkpoint in {folder} to resume from; train without resuming{hint}")


def restore(runner: Runner, state: Mapping[str, Any], path: Path, on_change: str) -> None:
    """Put a run into the state that a checkpoint holds, and warn of what differs between its config and the run's.

    Raises:
        CheckpointError: The checkpoint does not fit the config.
    """
    held = {name: dotted(type(member.optimizer)) for name, member in members(runner.optim_wrapper).items()}
    if state["optimizers"] != held:
        made, named = (", ".join(f"{k} {v}".strip() for k, v in found.items()) for found in (state["optimizers"], held))
        raise CheckpointError(f"{path} was made with the optimizer {made}, and the config names {named}")
    of_config = [_settings(member) for member in members(runner.optim_wrapper).values()]
    try:
        runner.modes.train()
        runner.strategy.load_model_state(runner.model, state.get("trained", state["model"]))
        runner.optim_wrapper.load_state_dict(state["optim_wrapper"])
        for member in members(runner.optim_wrapper).values():
            runner.strategy.place_state(member.optimizer)
        if on_change == "config":
            for member, settings in zip(members(runner.optim_wrapper).values(), of_config):
                for group, values in zip(member.param_groups, settings):
                    group.update(values)
        runner.schedulers.load_state_dict(state["param_scheduler"], on_change)
        runner.hooks.load_state_dict(state["hooks"])
        if on_change == "config":
            runner.schedulers.replay()  # an unchanged schedule too, for its initial values may have changed
    except (CheckpointError, KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} does not fit this config: {error}") from error
    for name, parameter in runner.model.named_parameters():
        gradient = state["gradients"].get(name)
        parameter.grad = None if gradient is None else runner.strategy.place(gradient, parameter)
    if isinstance(runner.optim_wrapper, OptimWrapperDict):
        for name, member in runner.optim_wrapper.items():
            member.initialize_count_status(runner.model, state["backward_passes"][name], -1)
    runner.history.load(path.parent / "metrics.csv", state["rows"])
    now = {"randomness": {"seed": state["seed"]}, **runner.config}
    _warn_of_changes(state["config"], now, path, on_change)


def _settings(member: BaseOptimWrapper) -> list[dict[str, Any]]:
    """Return what the config says of each parameter group; what an optimizer counts in its groups is no setting."""
    cls: Callable[..., Any] = type(member.optimizer)
    arguments = calls.parameters(cls)
    return [
        {k: v for k, v in group.items() if (k in arguments and k != "params") or k.startswith("initial_")}
        for group in member.param_groups
    ]


def _warn_of_changes(old: Any, new: Any, path: Path, on_change: str) -> None:
    """Warn of every difference between two configs, and say which of the two holds from now on."""
    restored = {
        "error": (*OF_THE_CHECKPOINT, *OF_THE_GROUPS),
        "restore": (*OF_THE_CHECKPOINT, *OF_THE_GROUPS, "param_scheduler"),
        "config": OF_THE_CHECKPOINT,
    }[on_change]
    changes = [
        f"{key} stays {before} ({now} in the config)" if key.startswith(restored) else f"{key} is {now} (was {before})"
        for key, before, now in _differences(old, new, "")
        if not key.startswith(INCIDENTAL)
    ]
    if changes:
        warnings.warn(
            f"the config differs from the one that made {path}: {'; '.join(changes)}", OptimzooWarning, stacklevel=4
        )


def _differences(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path of each difference between two configs, and what stands there in each."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {**old, **new}:
            yield from _differences(old.get(key, "unset"), new.get(key, "unset"), join_path(path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, now) in enumerate(zip(old, new)):
            yield from _differences(before, now, join_path(path, index))
    elif old != new:
        yield path, old, new
