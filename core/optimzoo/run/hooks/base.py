"""Hooks: what happens around the training step."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimzoo import calls
from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning
from optimzoo.names.entry import dotted
from optimzoo.names.zoo import HOOKS
from optimzoo.traces import describe_error
from optimzoo.wrappers import StepOutcome

if TYPE_CHECKING:
    from optimzoo.run.runner import Runner


class Hook:
    """Base of the hooks; every method does nothing until it is overridden.

    Hooks run in the order of ``Runner.hooks``: those given by the user, the logs, the schedules, the checkpoints.
    """

    def before_train(self, runner: Runner) -> None:
        """Called once everything is built or resumed."""

    def after_train(self, runner: Runner) -> None:
        """Called when training has reached its end."""

    def before_epoch(self, runner: Runner) -> None:
        """Called before each pass over the data, and before the rest of one; the model is in training mode."""

    def after_epoch(self, runner: Runner) -> None:
        """Called after each pass over the data, before its validation."""

    def before_iter(self, runner: Runner, batch: Any) -> None:
        """Called before each iteration, with its batch on the device."""

    def after_iter(self, runner: Runner, outcome: StepOutcome, logs: Mapping[str, Any]) -> None:
        """Called after each iteration, with what it did to the parameters and what the model reported."""

    def before_val(self, runner: Runner) -> None:
        """Called before each validation of the training, and again when one that was cut short is repeated."""

    def evaluating(self, runner: Runner) -> contextlib.AbstractContextManager[Any]:
        """Return the context of every evaluation, by ``Runner.val`` too: the place to swap weights and swap them back.

        A signal, or an error, may end the evaluation in the middle.
        """
        return contextlib.nullcontext()

    def after_val(self, runner: Runner, metrics: Mapping[str, float]) -> None:
        """Called after each validation of the training."""

    def checkpoint_due(self, runner: Runner) -> None:
        """Called after each epoch, or at the validation interval of a run by iteration, before the validation."""

    def before_checkpoint(self, runner: Runner) -> None:
        """Called before the state of the run is put together for a checkpoint."""

    def after_checkpoint(self, runner: Runner, path: Path) -> None:
        """Called once the checkpoint is on the disk."""

    def on_stop(self, runner: Runner) -> None:
        """Called after the step, or in the validation, in which a signal asked the run to stop, to save it."""

    def on_exception(self, runner: Runner, error: BaseException) -> None:
        """Called when training stops by an exception, which is then raised."""

    def state_dict(self) -> dict[str, Any]:
        """Return what checkpoints are to hold of this hook, as ``torch.load(weights_only=True)`` can read it."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned; called before ``before_train`` if the checkpoint has any."""


class ParamSchedulerHook(Hook):
    """Steps the schedules: after each iteration, each epoch, and each validation."""

    def after_iter(self, runner: Runner, outcome: StepOutcome, logs: Mapping[str, Any]) -> None:
        """Step the schedules by iteration and by update."""
        runner.schedulers.step(outcome)

    def after_epoch(self, runner: Runner) -> None:
        """Step the schedules by epoch."""
        runner.schedulers.step(epoch_end=True)

    def after_val(self, runner: Runner, metrics: Mapping[str, float]) -> None:
        """Step the schedules that watch a metric."""
        runner.schedulers.step(metrics=metrics)


class HookList(list[Hook]):
    """The hooks of a run, in the order in which they are called.

    Attributes:
        calling: The event that they are told of, and the hook that is being told; None in between.
    """

    calling: tuple[str, Hook] | None = None

    def call(self, event: str, runner: Runner, *arguments: Any) -> None:
        """Tell every hook of an event, by the method of that name."""
        for hook in self:
            self._call_one(hook, event, runner, *arguments)

    def tell(self, runner: Runner, error: BaseException) -> None:
        """Tell every hook of an error; what goes wrong on the way is no reason to lose that error."""
        for hook in self:
            try:
                self._call_one(hook, "on_exception", runner, error)
            except Exception as another:
                name = f"{type(hook).__name__}.on_exception"
                warnings.warn(f"{name} failed: {describe_error(another)}", OptimzooWarning, stacklevel=2)

    def _call_one(self, hook: Hook, event: str, runner: Runner, *arguments: Any) -> None:
        outer, self.calling = self.calling, (event, hook)
        try:
            getattr(hook, event)(runner, *arguments)
        finally:
            self.calling = outer

    @contextlib.contextmanager
    def evaluating(self, runner: Runner) -> Iterator[None]:
        """Return the contexts of all hooks for a validation as one."""
        with contextlib.ExitStack() as stack:
            for hook in self:
                stack.enter_context(hook.evaluating(runner))
            yield

    def state_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Return what each hook wants to keep, by class."""
        states: dict[str, list[dict[str, Any]]] = {}
        for hook in self:
            states.setdefault(dotted(type(hook)), []).append(hook.state_dict())
        return states

    def load_state_dict(self, states: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Give each hook what the one of its class wanted to keep; a hook for which there is nothing begins anew."""
        left = {name: iter(each) for name, each in states.items()}
        for hook in self:
            state = next(left.get(dotted(type(hook)), iter(())), None)
            if state:
                hook.load_state_dict(state)


def hook_problems(hooks: Any) -> Iterator[OptimzooError]:
    """Yield what is wrong with a config's ``hooks``."""
    if not isinstance(hooks, (list, tuple)):
        yield ConfigError(f"a list of hooks is wanted, each a dict with the key 'type', got {hooks!r}", "hooks")
        return
    for index, hook in enumerate(hooks):
        if isinstance(hook, Hook):
            continue
        path = f"hooks[{index}]"
        try:
            cls, kwargs = HOOKS.resolve(hook, path)
        except OptimzooError as error:
            yield error
        else:
            yield from calls.problems(cls, kwargs, path)


def build_hooks(hooks: Sequence[Hook | Mapping[str, Any]]) -> list[Hook]:
    """Return the hooks that a config's ``hooks`` describes.

    Raises:
        ConfigError: One is described wrongly.
    """
    calls.raise_all(hook_problems(hooks))
    paths = [f"hooks[{index}]" for index in range(len(hooks))]
    return [h if isinstance(h, Hook) else calls.call(*HOOKS.resolve(h, path), path) for h, path in zip(hooks, paths)]
