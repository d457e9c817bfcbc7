"""All schedules of a run, stepped together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, overload

from torch.optim import Optimizer

from optimzoo.calls import no_exit
from optimzoo.errors import CheckpointError, OptimzooError, shown
from optimzoo.optimizers.param_groups import NAMES, copied
from optimzoo.schedules import before, resume
from optimzoo.schedules.base import ParamScheduler
from optimzoo.schedules.order import FirstStep, update_count, warn
from optimzoo.schedules.state import damaged
from optimzoo.schedules.targets import HyperParam, StandIn, own
from optimzoo.values import one_of
from optimzoo.wrappers import BaseOptimWrapper, StepOutcome

OF_TORCH = ("optimizer", "get_last_lr", "last_epoch", "base_lrs")
"""What trainers ask of a scheduler of torch."""


class _WhenLoaded:
    """A hook of a group of schedules; a copy of it, which a copied wrapper takes along, does nothing."""

    def __init__(self, act: Callable[[], None] | None = None) -> None:
        self._act = act

    def __call__(self, *_: Any) -> None:
        if self._act is not None:
            self._act()

    def __reduce__(self) -> tuple[type[_WhenLoaded], tuple[()]]:
        return _WhenLoaded, ()


class SchedulerGroup:
    """The schedules of a run, in the order in which they act.

    Args:
        schedulers: The schedules.
        optimizers: What they act on; by default what the given schedules say.

    Attributes:
        counts: Epochs and iterations so far.

    Examples:
        >>> import torch
        >>> from optimzoo import build_optim_wrapper, build_param_scheduler
        >>> model = torch.nn.Linear(2, 1)
        >>> wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=1.0)))
        >>> schedule = build_param_scheduler(
        ...     wrapper, dict(type="LinearLR", start_factor=0.5, by_epoch=False, end=3))
        >>> for _ in range(3):
        ...     print(wrapper.get_lr()["lr"])
        ...     outcome = wrapper.update_params(model(torch.ones(2)).sum())
        ...     schedule.step(outcome)
        [0.5]
        [0.75]
        [1.0]
    """

    def __init__(
        self,
        schedulers: Iterable[ParamScheduler] = (),
        optimizers: Iterable[Optimizer | BaseOptimWrapper] = (),
    ) -> None:
        self._schedulers = list(schedulers)
        self._optimizers = list({id(o): o for o in [*optimizers, *(s.target for s in self._schedulers)]}.values())
        self._take_over()
        self.counts = {"epoch": 0, "iter": 0}
        self._epochs_took: int | None = 0
        self._count_from([0] * len(self._optimizers))
        self._first: list[FirstStep] | None = [
            FirstStep(optimizer, dict.fromkeys(s.hyperparam for s in self._on(optimizer)))
            for optimizer in self._optimizers
        ]
        self._lists: list[Any] = [own(optimizer).param_groups for optimizer in self._optimizers]
        self._as_built = True  # no step was made, and no state loaded
        self._load_hooks: list[Any] = []
        self._loaded: Sequence[Mapping[str, Sequence[float]]] | None = None
        self._replays = False
        self._built_on = [[_settings(group) for group in own(each).param_groups] for each in self._optimizers]

    def _take_over(self) -> None:
        """Know which optimizer each schedule acts on; the group sees to the order of its steps."""
        self._places = [
            next(place for place, optimizer in enumerate(self._optimizers) if optimizer is scheduler.target)
            for scheduler in self._schedulers
        ]
        for scheduler in self._schedulers:
            scheduler._watch_no_more()

    def _on(self, optimizer: Any) -> list[ParamScheduler]:
        return [scheduler for scheduler in self._schedulers if scheduler.target is optimizer]

    @overload
    def __getitem__(self, index: int) -> ParamScheduler: ...
    @overload
    def __getitem__(self, index: slice) -> SchedulerGroup: ...
    def __getitem__(self, index: int | slice) -> ParamScheduler | SchedulerGroup:
        if isinstance(index, slice):
            return SchedulerGroup(self._schedulers[index])
        return self._schedulers[index]

    def __getattr__(self, name: str) -> Any:
        hint = "; trainers take torch_scheduler(optimizer, cfg), of optimzoo.trainers.torch" if name in OF_TORCH else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def __len__(self) -> int:
        return len(self._schedulers)

    def __iter__(self) -> Iterator[ParamScheduler]:
        return iter(self._schedulers)

    @no_exit("a schedule")
    def step(
        self,
        outcome: StepOutcome | Mapping[str, StepOutcome] | None = None,
        epoch_end: bool = False,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Step the schedules after an iteration, after an epoch, and after a validation.

        Args:
            outcome: What ``update_params`` returned for the iteration, of several optimizers a dict; None if no
                iteration ended. All updates that the wrapper made in the iteration count.
            epoch_end: Whether an epoch ended, with this iteration or since the last call.
            metrics: The metrics of a validation by name, for the schedules that watch one.

        Raises:
            OptimzooError: Nothing is given, so that no schedule could move, or ``outcome`` is something else.
        """
        if not isinstance(outcome, (StepOutcome, NoneType)) and not _are_outcomes(outcome):
            raise OptimzooError(
                f"step() takes first what update_params returned, got {shown(outcome)}. The metrics of a validation, "
                "by name, are metrics="
            )
        if outcome is None and not epoch_end and metrics is None and self._schedulers:
            raise OptimzooError(
                "step() was not told what has ended. Pass what update_params returned after an iteration, "
                "epoch_end=True after an epoch, metrics= after a validation"
            )
        if self._first is not None and (epoch_end or outcome is not None):
            self.check_order(outcome in (StepOutcome.ACCUMULATING, StepOutcome.SKIPPED))
        if self._load_hooks:
            self._stop_listening()
        self._as_built = False
        self.advance(outcome is not None, outcome is StepOutcome.UPDATED, epoch_end)
        if metrics is not None:
            for scheduler in self._schedulers:
                if scheduler.need_val_args:
                    scheduler.step(metrics)  # type: ignore[call-arg]

    def advance(self, iteration: bool, updated: bool, epoch_end: bool) -> None:
        """Step the schedules after what has ended, an iteration with or without an update of its own, or an epoch."""
        if iteration:
            self.counts["iter"] += 1
            self._told += updated
            updates: list[int] = []
            for scheduler, place in zip(self._schedulers, self._places):
                if scheduler.by == "iter":
                    scheduler.step()
                elif scheduler.by == "update":
                    if not updates:
                        updates = self._new_updates()
                        self._count_from(self.updates)
                    for _ in range(updates[place]):
                        scheduler.step()
        if epoch_end:
            self.counts["epoch"] += 1
            self._epochs_took = self.counts["iter"]
            for scheduler in self._schedulers:
                if scheduler.by == "epoch":
                    scheduler.step()

    @property
    def updates(self) -> list[int]:
        """Updates of each optimizer so far."""
        return [counted + new for counted, new in zip(self._updates, self._new_updates())]

    def _new_updates(self) -> list[int]:
        """Return the updates of each optimizer since the last count: as its wrapper counts them, or as the loop told.

        What a loop tells does not tell several wrappers apart.
        """
        several = len(self._optimizers) > 1
        made = (update_count(optimizer) - seen for optimizer, seen in zip(self._optimizers, self._seen))
        return [
            new if several and isinstance(optimizer, BaseOptimWrapper) else max(new, self._told)
            for optimizer, new in zip(self._optimizers, made)
        ]

    def _count_from(self, updates: list[int]) -> None:
        self._updates = updates
        self._told = 0
        self._seen = [update_count(optimizer) for optimizer in self._optimizers]

    def check_order(self, is_told: bool = False) -> None:
        """Warn, once, if no optimizer has done anything before the first step of the schedules.

        Args:
            is_told: Whether it is known what the iteration did, which was no update.
        """
        first, self._first = self._first, None
        for each in first or ():
            each.forget()
            if self._as_built:
                each.check_state()
        if first and self._schedulers and not is_told and not any(each.made for each in first):
            warn("the schedules are stepped, and no optimizer has made a step yet:")

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every schedule, in order, and how many steps were taken: plain values only."""
        return {
            "schedulers": [scheduler.state_dict() for scheduler in self._schedulers],
            "optimizers": list(self._places),
            "values": [
                {s.param_name: _held(s, optimizer) for s in self._on(optimizer)} for optimizer in self._optimizers
            ],
            "counts": dict(self.counts),
            "epochs_took": self._epochs_took,
            "updates": self.updates,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any] | Sequence[Any], on_change: str = "error") -> None:
        """Continue where ``state_dict`` was taken, before or after the optimizer's state is loaded.

        A group whose value was not in the checkpoint, because its parameters come from groups that differed, is brought
        to where its schedules are, with a warning.

        Args:
            state_dict: What ``state_dict`` returned, or a list of mmengine's states; it is left as it is.
            on_change: What to do if these are not the schedules of the checkpoint: ``"error"``; ``"restore"`` those of
                the checkpoint; or go on with these as the ``"config"`` has them, as if they had run from the start:
                they are replayed from the initial values that the groups had when these were built (but for reductions
                on a plateau).

        Raises:
            CheckpointError: The schedules differ from the checkpoint's, or cannot be restored.
        """
        one_of(on_change, resume.ON_CHANGE, "on_change")
        saved = resume.Saved.read(state_dict, self._places)
        changes = list(resume.changes(self._schedulers, self._places, saved))
        if changes and on_change == "error":
            raise CheckpointError(
                f"the schedules are not those of the checkpoint: {'; '.join(changes)}. Choose by on_change, or "
                "--on-change: 'restore' continues the checkpoint's, 'config' continues these as if they had run from "
                "the start, and 'error' stops here"
            )
        replays = on_change == "config"  # an unchanged schedule too, for its initial values may have changed
        ready = self._schedulers
        if not replays:
            ready = list(resume.restored(self._schedulers, saved, self._optimizers)) if changes else ready
            for index, (scheduler, state) in enumerate(zip(ready, saved.states)):
                with damaged("the parameter schedules"):
                    scheduler.check_state(state, f"schedulers[{index}]")
        self._stop_listening()
        if self._as_built:
            self._undo_first_steps(saved.values)
        self._replays = replays
        self.counts = {unit: saved.counts[unit] for unit in self.counts}
        self._epochs_took = saved.epochs_took
        self._count_from(saved.updates_of(len(self._optimizers)))
        for scheduler, place in zip(ready, saved.places if ready is not self._schedulers else ()):
            if isinstance(scheduler.target, StandIn):
                scheduler.move_to(self._optimizers[place])
        self._schedulers = ready
        self._take_over()
        for scheduler, state in zip(ready, () if replays else saved.states):
            scheduler._continue(state)
        self._loaded = saved.values
        self._mend()
        self._listen()

    def _undo_first_steps(self, saved: Sequence[Mapping[str, Sequence[float]]]) -> None:
        """Give the groups back what they held before the schedules were built, if that is what a checkpoint had."""
        self._as_built = False
        for place, optimizer in enumerate(self._optimizers):
            held = saved[place] if place < len(saved) else {}
            for key in {scheduler.param_name for scheduler in self._on(optimizer)}:
                if before.give_back(own(optimizer), HyperParam.parse(key), held.get(key)):
                    self._lists[place] = None  # it was loaded

    def restart(self) -> None:
        """Begin anew, from the groups' initial values."""
        self._stop_listening()
        self.counts = dict.fromkeys(self.counts, 0)
        self._epochs_took = 0
        self._count_from([0] * len(self._optimizers))
        self.replay()

    def replay(self) -> None:
        """Set the groups' values to what the schedules make of the initial values in the steps taken so far."""
        resume.replay(self._schedulers, self._optimizers, self.counts, self.updates, self._epochs_took)

    def _mend(self) -> None:
        """Set what the states of the optimizers, as far as they are loaded, left elsewhere than the schedules are."""
        for scheduler in self._schedulers:
            scheduler.hyperparam.part(own(scheduler.target))
        if self._replays:
            for optimizer, built_on in zip(self._optimizers, self._built_on):
                for group, then in zip(own(optimizer).param_groups, built_on):
                    resume.begin_again(group, then)
            self.replay()
        for optimizer, groups, held in zip(self._optimizers, self._lists, () if self._replays else self._loaded or ()):
            if own(optimizer).param_groups is not groups:  # loading puts another list in place
                resume.settle(self._on(optimizer), held)
        self._lists = [own(optimizer).param_groups for optimizer in self._optimizers]

    def _listen(self) -> None:
        """Mend again if an optimizer's state is loaded before the next step."""
        for optimizer in self._optimizers:
            self._load_hooks.append(own(optimizer).register_load_state_dict_post_hook(_WhenLoaded(self._mend)))

    def _stop_listening(self) -> None:
        self._loaded = None
        while self._load_hooks:
            self._load_hooks.pop().remove()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy and a pickle hold: the hooks are on the original's optimizers."""
        return {**vars(self), "_load_hooks": [], "_first": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._loaded is not None:
            self._listen()

    def __repr__(self) -> str:
        return f"SchedulerGroup({self._schedulers!r})"


def _are_outcomes(outcome: object) -> bool:
    return isinstance(outcome, Mapping) and all(isinstance(each, StepOutcome) for each in outcome.values())


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return copied({key: value for key, value in group.items() if key not in ("params", NAMES)})


def _held(scheduler: ParamScheduler, optimizer: Any) -> list[float]:
    """Return the value in each of the groups of ``optimizer`` that have one, as a number."""
    param = scheduler.hyperparam
    return [float(param.get(group)) for group in optimizer.param_groups if param.key in group]
