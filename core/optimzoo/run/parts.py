"""What a checkpoint holds, said once: the parts of a run, each with the keys that it keeps there.

Saving walks ``PARTS`` and joins what each returns; loading checks the keys of all, and then walks the same list.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from optimzoo import calls
from optimzoo.errors import CheckpointError, shown
from optimzoo.names.entry import dotted
from optimzoo.run.hooks.list import HookList
from optimzoo.run.hooks.run import Run
from optimzoo.run.loop.randomness import RandomStates
from optimzoo.run.spread.strategy import Strategy
from optimzoo.run.store.changes import warn_of_changes
from optimzoo.run.store.checkpoint import PATTERN
from optimzoo.schedules.resume import Saved
from optimzoo.schedules.state import unit_of
from optimzoo.traces import describe_error
from optimzoo.wrappers import BaseOptimWrapper
from optimzoo.wrappers.members import members
from optimzoo.wrappers.ownership import note
from optimzoo.wrappers.state_checks import check_kept, cls_of

logger = logging.getLogger("optimzoo.run")

State = Mapping[str, Any]
Check = Callable[[Any], bool]

MANY = 1000
"""Rows of history, backward passes and updates that an iteration may have; no run writes that there were more."""
TIMES = 100
"""How many times as long as the run that is to go on a checkpoint's may have been."""


class Whole(Run, Protocol):
    """All of a run that a checkpoint is made of, beyond what its hooks see."""

    hooks: HookList
    strategy: Strategy
    random: RandomStates
    seed: int
    config: dict[str, Any]
    on_change: str
    val_dataloader: Iterable[Any] | None


class Part(ABC):
    """A part of a run, as a checkpoint holds it.

    Args:
        run: The run.
    """

    keys: Mapping[str, Check]
    """What it keeps, and whether a value that is found there can be that."""

    new: tuple[str, ...] = ()
    """Keys that checkpoints of older versions do not have."""

    def __init__(self, run: Whole) -> None:
        self.run = run

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return what it keeps, under ``keys``; all processes call it, and the first holds it."""

    @abstractmethod
    def load_state_dict(self, state: State) -> None:
        """Take over what ``state_dict`` returned, from among the keys of all parts."""


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _want_at_most(count: Any, iterations: int, name: str) -> None:
    if not _is_count(count) or count > MANY * (iterations + 1):
        raise CheckpointError(f"{name} is {shown(count, 80)}, which {iterations} iterations cannot have made")


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


class _Model(Part):
    """The weights: those to use, and where an optimizer trains others, these as ``trained``; and which are frozen."""

    keys: Mapping[str, Check] = {"model": _is_dict, "frozen": lambda value: isinstance(value, list)}
    new = ("frozen",)

    def state_dict(self) -> dict[str, Any]:
        frozen = [name for name, p in self.run.model.named_parameters() if not p.requires_grad]
        return {**self.run.modes.state(lambda: self.run.strategy.model_state(self.run.model)), "frozen": frozen}

    def load_state_dict(self, state: State) -> None:
        self.run.modes.train()
        self.run.strategy.load_model_state(self.run.model, state.get("trained", state["model"]))
        if "frozen" not in state or self.run.on_change == "config":
            return
        for name, parameter in self.run.model.named_parameters():
            if parameter.requires_grad is (name in state["frozen"]):
                parameter.requires_grad_(not parameter.requires_grad)
                is_now = "trained" if parameter.requires_grad else "frozen"
                logger.info("%s is %s, as in the checkpoint; on_change='config' leaves it as it is built", name, is_now)


class _Optimizers(Part):
    """The optimizers and their wrappers; groups that joined during the run come back first."""

    keys: Mapping[str, Check] = {"optim_wrapper": _is_dict, "optimizers": _is_dict, "backward_passes": _are_counts}

    def state_dict(self) -> dict[str, Any]:
        each = members(self.run.optim_wrapper)
        return {
            "optim_wrapper": self.run.strategy.whole(self.run.optim_wrapper.state_dict()),
            "optimizers": classes_of(each),
            "backward_passes": {name: getattr(member, "inner_count", 0) for name, member in each.items()},
        }

    def load_state_dict(self, state: State) -> None:
        each = members(self.run.optim_wrapper)
        held = classes_of(each)
        if state["optimizers"] != held:
            made, named = (", ".join(f"{k} {v}".strip() for k, v in n.items()) for n in (state["optimizers"], held))
            raise CheckpointError(
                f"it was made with the optimizer {made}, and the config names {named}: `optimzoo convert-state` keeps "
                "of its state what means the same"
            )
        for name, count in state["backward_passes"].items():
            _want_at_most(count, state["iter"], f"backward_passes[{name!r}]")
        of_config = {name: _settings(member) for name, member in each.items()}
        self.run.optim_wrapper.add_saved_groups(self.run.model, state["optim_wrapper"])
        self.run.optim_wrapper.load_state_dict(state["optim_wrapper"])
        for name, member in each.items():
            _want_at_most(getattr(member, "inner_count", 0), state["iter"], "counts.inner_count")
            self.run.strategy.place_state(member.optimizer)
            if self.run.on_change == "config":
                of_groups, of_base = of_config[name]
                for group, values in zip(member.optimizer.param_groups, of_groups):  # not of those that joined
                    group.update(values)
                if member.base_param_settings is not None:
                    member.base_param_settings.update(of_base)
                check_kept(member.optimizer)
            counted, told = getattr(member, "inner_count", 0), state["backward_passes"][name]
            if counted and counted != told:
                raise CheckpointError(f"counts.inner_count is {counted}, where backward_passes[{name!r}] is {told}")
            if counted != told:  # a state without counts
                member.initialize_count_status(self.run.model, state["backward_passes"][name], -1)


class _Schedules(Part):
    """The schedules; what becomes of others in the config, ``on_change`` says."""

    keys: Mapping[str, Check] = {"param_scheduler": _is_dict}

    def state_dict(self) -> dict[str, Any]:
        return {"param_scheduler": self.run.schedulers.state_dict()}

    def load_state_dict(self, state: State) -> None:
        saved = Saved.read(state["param_scheduler"], ())
        for unit in ("epoch", "iter"):
            if saved.counts[unit] != state[unit]:
                raise CheckpointError(f"counts.{unit} is {saved.counts[unit]}, where the run's is {state[unit]}")
        for index, (each, now) in enumerate(zip(saved.states, self.run.schedulers)):
            steps, unit = each["_global_step"], unit_of(each.get("args", each))
            ahead = each["last_step"] - steps > max(now.last_step - now._global_step, 0)
            if ahead or (unit in saved.counts and not now.need_val_args and steps > saved.counts[unit]):
                raise CheckpointError(f"schedulers[{index}] is at step {max(steps, each['last_step'])}, past the run's")
        for number, count in enumerate(saved.updates):
            _want_at_most(count, state["iter"], f"updates[{number}]")
        self.run.schedulers.load_state_dict(state["param_scheduler"], self.run.on_change)


class _Hooks(Part):
    """What each hook wants to keep; the weights that they average, as states of the model, are for people to load."""

    keys: Mapping[str, Check] = {"hooks": _is_dict, "averaged": _is_dict}
    new = ("averaged",)

    def state_dict(self) -> dict[str, Any]:
        averaged = {hook.measures: hook.weights() for hook in self.run.hooks if hook.measures}
        state = {"hooks": self.run.hooks.state_dict(), "averaged": averaged}
        return {key: self.run.strategy.whole(value) for key, value in state.items()}

    def load_state_dict(self, state: State) -> None:
        self.run.hooks.load_state_dict(state["hooks"])


class _Gradients(Part):
    """The gradients of an unfinished window of accumulation."""

    keys: Mapping[str, Check] = {"gradients": _is_dict}

    def state_dict(self) -> dict[str, Any]:
        return {"gradients": self.run.strategy.gradients(self.run.model)}

    def load_state_dict(self, state: State) -> None:
        for name, parameter in self.run.model.named_parameters():
            gradient = state["gradients"].get(name)
            parameter.grad = None if gradient is None else self.run.strategy.place(gradient, parameter)
        note(self.run.model.parameters())  # what a member's loss left in another is dropped without a word


class _Log(Part):
    """How much of the history was written; the history itself lies beside the checkpoint."""

    keys: Mapping[str, Check] = {"rows": _is_count}

    def state_dict(self) -> dict[str, Any]:
        return {"rows": len(self.run.history)}

    def load_state_dict(self, state: State) -> None:
        _want_at_most(state["rows"], state["iter"], "rows")
        if self.run.resumed_from is not None:
            self.run.history.load(self.run.resumed_from.parent / "metrics.csv", state["rows"], state["iter"])


class _Place(Part):
    """How far the run is: if an epoch has another length now, it goes on after the same share of it."""

    keys: Mapping[str, Check] = {
        **dict.fromkeys(("epoch", "iter", "iter_in_epoch"), _is_count),
        "epoch_length": lambda value: value is None or _is_count(value),
        "validation_due": lambda value: isinstance(value, bool),
    }

    def state_dict(self) -> dict[str, Any]:
        return {key: getattr(self.run, key) for key in self.keys}

    def load_state_dict(self, state: State) -> None:
        run, before = self.run, state["epoch_length"]
        if max(state["epoch"], state["iter_in_epoch"]) > state["iter"] or state["iter_in_epoch"] > (before or math.inf):
            raise CheckpointError(
                f"{state['epoch']} epochs and {state['iter_in_epoch']} are not {state['iter']} iterations"
            )
        if run.max_iters is not None and state["iter"] > TIMES * max(run.max_iters, MANY):
            raise CheckpointError(f"iter is {state['iter']}, and the run has {run.max_iters} iterations")
        run.epoch, run.iter, run.iter_in_epoch = state["epoch"], state["iter"], state["iter_in_epoch"]
        run.validation_due = state["validation_due"] and run.val_dataloader is not None
        if run.epoch_length is not None and before:
            run.iter_in_epoch = run.iter_in_epoch * run.epoch_length // before
            if run.plan.max_epochs is not None:
                left = (run.plan.max_epochs - run.epoch) * run.epoch_length - run.iter_in_epoch
                run.max_iters = run.iter + max(0, left)


class _Randomness(Part):
    """The seed, and the state of the generators of each process, now and at the start of the epoch."""

    keys: Mapping[str, Check] = {
        "seed": lambda value: _is_count(value) and value < 2**63,
        "random": lambda value: isinstance(value, list),
    }

    def state_dict(self) -> dict[str, Any]:
        inside = self.run.iter_in_epoch > 0
        return {"seed": self.run.seed, "random": self.run.processes.gather(self.run.random.state_dict(inside))}

    def load_state_dict(self, state: State) -> None:
        for each in state["random"][self.run.processes.rank :][:1]:  # there may be more processes now
            self.run.random.load_state_dict(each)


class _Config(Part):
    """The config, in plain values; nothing of it is built or imported, it is compared."""

    keys: Mapping[str, Check] = {"config": _is_dict}

    def state_dict(self) -> dict[str, Any]:
        return {"config": self.run.config}

    def load_state_dict(self, state: State) -> None:
        now = {"randomness": {"seed": state["seed"]}, **self.run.config}
        groups = [g for each in members(self.run.optim_wrapper).values() for g in each.optimizer.param_groups]
        settings = {key for group in groups for key in group}
        warn_of_changes(state["config"], now, self.run.resumed_from, self.run.on_change, settings)


PARTS: tuple[type[Part], ...] = (
    *(_Place, _Model, _Gradients, _Optimizers, _Schedules, _Hooks),
    *(_Log, _Randomness, _Config),
)
"""The parts of a run, in the order in which they are saved and loaded."""


def state_of(run: Whole) -> dict[str, Any]:
    """Return all that a checkpoint holds."""
    return {key: value for part in PARTS for key, value in part(run).state_dict().items()}


def check_state(state: State, path: Path) -> None:
    """Look for the keys of every part.

    Raises:
        CheckpointError: One is missing, or what is there cannot be it.
    """
    known = {key for part in PARTS for key in part.new}
    for key, fits in (item for part in PARTS for item in part.keys.items() if item[0] in state or item[0] not in known):
        if key not in state:
            raise CheckpointError(f"{path} has no {key!r}: it was not written by a run, or is damaged")
        if not fits(state[key]):
            raise CheckpointError(f"{path} cannot be resumed from: its {key!r} is {shown(state[key], 80)}")
    named = PATTERN.fullmatch(path.name)
    if named and int(named[1]) != state["iter"]:
        raise CheckpointError(f"{path} is the checkpoint of another step: its 'iter' is {shown(state['iter'], 80)}")


def restore(run: Whole, state: State, path: Path) -> None:
    """Put a run into the state that a checkpoint holds, and warn of what differs between its config and the run's.

    Raises:
        CheckpointError: The checkpoint does not fit the config.
    """
    for part in PARTS:
        try:
            part(run).load_state_dict(state)
        except Warning:  # which the user wants as an error
            raise
        except Exception as error:  # whatever an unfit value makes of it
            reason = str(error) if isinstance(error, CheckpointError) else describe_error(error)[:1000]
            raise CheckpointError(f"{path} does not fit this config: {', '.join(part.keys)}: {reason}") from error


def classes_of(each: Mapping[str, BaseOptimWrapper]) -> dict[str, str]:
    """Return the classes of the members' optimizers, as a checkpoint names them."""
    return {name: dotted(type(member.optimizer)) for name, member in each.items()}


def _settings(member: BaseOptimWrapper) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return what the config says of each parameter group, and of the base; what an optimizer counts is no setting."""
    optimizer = member.optimizer

    def of(group: Mapping[str, Any], classes: Iterable[type]) -> dict[str, Any]:
        names = frozenset().union(*map(calls.names_of, classes)) - {"params"}
        return {key: value for key, value in group.items() if key in names or key.startswith("initial_")}

    of_groups = [of(group, [cls_of(optimizer, group)]) for group in optimizer.param_groups]
    return of_groups, of(member.base_param_settings or {}, {cls_of(optimizer, g) for g in optimizer.param_groups})
