"""The hooks of a run as one object."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optimzoo import calls
from optimzoo.errors import ConfigError, OptimzooWarning, Problems, shown
from optimzoo.names.entry import dotted, is_own
from optimzoo.names.zoo import HOOKS
from optimzoo.run.hooks.base import Hook
from optimzoo.run.hooks.run import Run
from optimzoo.traces import describe_error
from optimzoo.values import few, plain


class HookList(list[Hook]):
    """The hooks of a run, in the order in which they are called.

    Attributes:
        calling: The event that they are told of, and the hook that is being told; None in between.
    """

    calling: tuple[str, Hook] | None = None

    def call(self, event: str, runner: Run, *arguments: Any) -> None:
        """Tell every hook of an event, by the method of that name."""
        for hook in self:
            self._call_one(hook, event, runner, *arguments)

    def tell(self, runner: Run, error: BaseException) -> None:
        """Tell every hook of an error; what goes wrong on the way is no reason to lose that error."""
        for hook in self:
            try:
                self._call_one(hook, "on_exception", runner, error)
            except Exception as another:
                name = f"{type(hook).__name__}.on_exception"
                warnings.warn(f"{name} failed: {describe_error(another)}", OptimzooWarning, stacklevel=2)

    def _call_one(self, hook: Hook, event: str, runner: Run, *arguments: Any) -> None:
        outer, self.calling = self.calling, (event, hook)
        try:
            getattr(hook, event)(runner, *arguments)
        finally:
            self.calling = outer

    @property
    def weights(self) -> list[str]:
        """The names of the weights that a validation measures, in turn; those that are trained have none."""
        named = list(dict.fromkeys(hook.measures for hook in self if hook.measures))
        return ["", *named] if all(hook.trained for hook in self) else named

    @contextlib.contextmanager
    def evaluating(self, runner: Run, weights: str = "") -> Iterator[None]:
        """Return the contexts of the hooks for an evaluation of the weights of that name as one."""
        with contextlib.ExitStack() as stack:
            for hook in self:
                if hook.measures in ("", weights):
                    stack.enter_context(hook.evaluating(runner))
            yield

    def state_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Return what each hook wants to keep, by class."""
        states: dict[str, list[dict[str, Any]]] = {}
        for hook in self:
            states.setdefault(_name(dotted(type(hook))), []).append(hook.state_dict())
        return states

    def load_state_dict(self, states: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Give each hook what the one of its class wanted to keep, of several in their order.

        Warns:
            OptimzooWarning: A state is taken by none, or an average of weights begins anew.
        """
        left = {_name(name): list(each) for name, each in states.items()}
        for hook in self:
            name = _name(dotted(type(hook)))
            if left.get(name):
                state = left[name].pop(0)
                if state:
                    hook.load_state_dict(state)
            elif hook.measures:
                told = f"{type(hook).__name__} has nothing in the checkpoint: it begins anew"
                warnings.warn(told, OptimzooWarning, stacklevel=2)
        for name in [name for name, each in left.items() if any(each)]:
            told = f"a state of {name.rpartition(':')[2]} in the checkpoint is taken by no hook, and is dropped"
            warnings.warn(told, OptimzooWarning, stacklevel=2)


def _name(target: str) -> str:
    """Return what a checkpoint calls a class of hooks: one of optimzoo's keeps its name wherever it moves to."""
    module, _, name = target.partition(":")
    return f"optimzoo.run:{name}" if module.startswith("optimzoo.run") else target


def read_hooks(hooks: Any) -> tuple[Hook | calls.Call, ...]:
    """Return the calls that make the hooks of a config, or the hooks themselves where they are made.

    Those of optimzoo are made, which shows what else is wrong with their arguments.

    Raises:
        ConfigError: One is described wrongly.
    """
    hooks = plain(hooks, "hooks")
    if not isinstance(hooks, (list, tuple)):
        raise ConfigError(f"a list of hooks is wanted, each a dict with the key 'type', got {shown(hooks)}", "hooks")
    with Problems() as problems:
        read = [problems.catch(_read, hook, f"hooks[{index}]") for index, hook in enumerate(few(hooks, "hooks"))]
    return tuple(read)


def _read(hook: Any, path: str) -> Hook | calls.Call:
    if isinstance(hook, (Hook, calls.Call)):
        return hook
    call = HOOKS.read(hook, path)
    made: Hook | calls.Call = call.build() if is_own(call.target) else call
    return made
