"""What every optimizer wrapper has, whatever its precision: groups, hyperparameters, state."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import CheckpointError, ConfigError, OptimzooError, did_you_mean, near
from optimzoo.groups.table import Summary
from optimzoo.traces import describe_error
from optimzoo.wrappers import attributes
from optimzoo.wrappers.ownership import note, noted, with_grad
from optimzoo.wrappers.state import add_missing_groups, described, drop_keys, fit_base, fit_state, keep_saved


class StepOutcome(Enum):
    """What an iteration did to the parameters."""

    UPDATED = "updated"
    ACCUMULATING = "accumulating"
    SKIPPED = "skipped"


SELF_EXPLAINED = "the optimizer's own arguments"


class BaseOptimWrapper(ABC):
    """Base of the wrappers around one optimizer.

    Args:
        optimizer: The optimizer to wrap.

    Attributes:
        base_param_settings: The optimizer's defaults, kept as one more parameter group without parameters when there
            are several groups; schedules act on it too, so that its ``lr`` tells the course of training whatever the
            groups' multipliers are. None with a single group.
        param_rules: For each parameter name, the rule that decided its settings; empty where nothing but the
            optimizer's own arguments did.
        param_order: The names of the parameters in the order of the model, where it is known.
        update_count: Updates made, as far as the wrapper counts them; those of a state that was loaded count too.
        skipped_count: Updates skipped.
    """

    patches_model = False
    """Whether the wrapper converts the model in its first context, so that nothing may be put around it before."""
    update_count = 0
    skipped_count = 0
    _updates_loaded = 0

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.base_param_settings: dict[str, Any] | None = None
        if len(optimizer.param_groups) > 1:
            lr = {k: v for k, v in optimizer.param_groups[0].items() if k == "lr"}  # which not all defaults have
            self.base_param_settings = {"params": torch.tensor([0.0]), **copy.deepcopy({**lr, **optimizer.defaults})}
        self.param_rules: dict[str, str] = {}
        self.param_order: list[str] = []
        self._at_first = attributes.marks(optimizer)
        self._keys_at_first = {key for group in optimizer.param_groups for key in group}

    @abstractmethod
    def update_params(self, loss: Tensor) -> Any:
        """Back-propagate ``loss`` and update the parameters."""

    @abstractmethod
    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Back-propagate ``loss``."""

    @abstractmethod
    def zero_grad(self, **kwargs: Any) -> None:
        """Clear the gradients."""

    @abstractmethod
    def step(self, **kwargs: Any) -> Any:
        """Update the parameters."""

    def optim_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Return the context for the forward pass of ``model``."""
        return nullcontext()

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:  # noqa: B027
        """Tell the wrapper how many iterations are done and how many there will be; see ``OptimWrapper``."""

    def explain(self, name: str) -> str:
        """Say which group and which rule gave a parameter its settings.

        Args:
            name: The parameter's name in the model.

        Raises:
            ConfigError: No group has a parameter of that name.

        Examples:
            >>> import torch
            >>> from optimzoo import build_optim_wrapper
            >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
            >>> wrapper = build_optim_wrapper(
            ...     model,
            ...     dict(optimizer=dict(type="AdamW", lr=0.1), paramwise_cfg=dict(norm_decay_mult=0.0)),
            ... )
            >>> wrapper.explain("1.weight")
            'group 1 (lr 0.1, weight_decay 0.0): norm_decay_mult'
            >>> wrapper.explain("0.weight")
            "group 0 (lr 0.1, weight_decay 0.01): the optimizer's own arguments"
        """
        return explain({"": self}, name)

    def summary(self) -> Summary:
        """Return a table of the parameter groups, to print or as the last line of a notebook's cell.

        Examples:
            >>> import torch
            >>> from optimzoo import build_optim_wrapper
            >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
            >>> cfg = dict(optimizer=dict(type="AdamW", lr=0.1), paramwise_cfg=dict(norm_decay_mult=0.0))
            >>> print(build_optim_wrapper(model, cfg).summary())
            AdamW: 2 parameter groups, fused=True
            group  tensors  elements   lr  decay  first parameter, rules
            ─────────────────────────────────────────────────────────────
                0        2         6  0.1   0.01  0.weight
                1        2         4  0.1      0  1.weight
                                                  norm_decay_mult
        """
        return Summary({"": self})

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimizer's groups, and where there are several, ``base_param_settings`` after them.

        The last entry is then no group of the optimizer's: it has no parameters, and the learning rate without the
        groups' multipliers.
        """
        if self.base_param_settings is None:
            return self.optimizer.param_groups
        return [*self.optimizer.param_groups, self.base_param_settings]

    @property
    def defaults(self) -> dict[str, Any]:
        """The optimizer's defaults."""
        return self.optimizer.defaults

    def get_lr(self) -> dict[str, list[float]]:
        """Return the learning rate of each group as ``lr``, and that of the base settings, if any, as ``base_lr``.

        Examples:
            >>> import torch
            >>> from optimzoo import OptimWrapper
            >>> wrapper = OptimWrapper(torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.01))
            >>> wrapper.get_lr()
            {'lr': [0.01]}
        """
        if not all("lr" in group for group in self.param_groups):
            raise ConfigError(f"the optimizer, {type(self.optimizer).__name__}, has parameter groups without an 'lr'")
        found = {} if self.base_param_settings is None else {"base_lr": [_value(self.base_param_settings["lr"])]}
        return {**found, "lr": [_value(group["lr"]) for group in self.optimizer.param_groups]}

    def get_momentum(self) -> dict[str, list[float]]:
        """Return the momentum of each group: the first of ``betas``, or ``momentum``, else 0.

        Examples:
            >>> import torch
            >>> from optimzoo import OptimWrapper
            >>> OptimWrapper(torch.optim.Adam(torch.nn.Linear(1, 1).parameters())).get_momentum()
            {'momentum': [0.9]}
        """
        by_betas = "betas" in self.defaults and "momentum" not in self.defaults
        return {"momentum": [_momentum(group, by_betas) for group in self.optimizer.param_groups]}

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, with ``base_param_settings`` where there are any.

        It has the names, dtypes and shapes of the parameters, the class of the optimizer, and the number of entries, so
        that one of which entries were lost is refused; and the attributes that steps have changed, such as a count of
        the steps, if they are plain values.
        """
        with calls.no_exit(f"{type(self.optimizer).__name__}.state_dict"):
            state = described(self.optimizer)
        state["entries"] = len(state.get("state", ()))
        beside = attributes.changed(self.optimizer, self._at_first)
        if any(self._at_first) or any(beside):
            state["attributes"] = beside
        if self.base_param_settings is not None:
            state["base_param_settings"] = dict(self.base_param_settings)
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load what ``state_dict`` returned, or the state of a torch.optim optimizer or of an mmengine wrapper.

        Parameters are matched by name where the state has names, so it may be of other groups; else by their order.

        Args:
            state_dict: The state; it is left as it is, and its tensors may be shared, as by torch.

        Raises:
            CheckpointError: It is of other parameters or of another optimizer; everything is as it was before.
        """
        with self.unchanged_on_error():
            has_stepped = self.update_count > 0 or len(self.optimizer.state) > 0
            fitted, dtypes = fit_state(self.optimizer, state_dict, self.param_order)
            if has_stepped:
                drop_keys(fitted["param_groups"], self.optimizer, self._keys_at_first, state_dict)
            base = self.base_param_settings
            if base is not None:  # before the groups: a schedule that listens to their loading acts on these too
                self.base_param_settings = fit_base(base, self.optimizer, state_dict)
            try:
                if has_stepped:
                    attributes.rewind(self.optimizer, self._at_first)
                self.optimizer.load_state_dict(fitted)
                keep_saved(self.optimizer, fitted["state"], dtypes)
                attributes.put_back(self.optimizer, state_dict.get("attributes", ()))
            except OptimzooError:
                raise
            except (Exception, SystemExit) as error:
                raise CheckpointError(
                    f"{type(self.optimizer).__name__} cannot load it; it may be of another optimizer or version: "
                    f"{describe_error(error)}"
                ) from error
            self._load_own(state_dict)

    def _load_own(self, state_dict: Mapping[str, Any]) -> None:  # noqa: B027
        """Load what the state holds beside that of the optimizer."""

    def add_saved_groups(self, model: nn.Module, state_dict: Mapping[str, Any]) -> None:
        """Add the parameter groups that the optimizer lacks and a state has, as those that a hook added during a run.

        Args:
            model: The model, whose parameters are known by their names.
            state_dict: What ``state_dict`` returned, to be loaded next.
        """
        add_missing_groups(self.optimizer, model, state_dict)

    @contextmanager
    def unchanged_on_error(self) -> Iterator[None]:
        """Put wrapper and optimizer back as they were if the block raises."""
        optimizers = attributes.holders(self.optimizer)
        own = [(vars(part), dict(vars(part))) for part in (self, *optimizers)]
        groups = [(group, dict(group)) for each in optimizers for group in each.param_groups]
        lists = [(each.param_groups, list(each.param_groups)) for each in optimizers]
        states = [(each.state, {k: copy.copy(v) for k, v in each.state.items()}) for each in optimizers]
        try:
            yield
        except BaseException:
            for now, before in (*own, *groups, *states):
                now.clear()
                now.update(before)
            for whole, kept in lists:
                whole[:] = kept
            raise

    def __getstate__(self) -> dict[str, Any]:
        # A copied or pickled torch optimizer has lost its hooks, and what its class keeps outside of the state; a
        # parameter, its gradient.
        cls, kept, params = type(self.optimizer), self.optimizer.__getstate__(), with_grad(self.optimizer)
        of_class = {key for key in vars(self.optimizer) if hasattr(cls, key)}
        lost = {k: v for k, v in vars(self.optimizer).items() if k not in kept and k not in of_class}
        if any(p.grad.grad_fn for p in params):  # type: ignore[union-attr]
            raise OptimzooError("its gradients have a graph, which cannot be copied: copy it after the update")
        return {**vars(self), "lost": lost, "grads": [(p, p.grad, noted(p)) for p in params]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        lost, grads = state.pop("lost"), state.pop("grads", ())
        vars(self).update(state)
        vars(self.optimizer).update(lost)
        for parameter, parameter.grad, kind in grads:
            note([parameter] if kind else [], kind)


def explain(wrappers: Mapping[str, BaseOptimWrapper], name: str) -> str:
    """Say which member, group and rule gave a parameter its settings; see ``BaseOptimWrapper.explain``."""
    known: list[str] = []
    for member, wrapper in wrappers.items():
        for index, group in enumerate(wrapper.optimizer.param_groups):
            if name in group.get("param_names", ()):
                settings = ", ".join(f"{key} {_value(group[key])}" for key in ("lr", "weight_decay") if key in group)
                rule = wrapper.param_rules.get(name, SELF_EXPLAINED)
                return f"{f'{member}, ' if member else ''}group {index} ({settings}): {rule}"
            known += group.get("param_names", ())
    raise ConfigError(f"no parameter group holds {name!r}.{did_you_mean(near(name, known))}")


def _momentum(group: Mapping[str, Any], by_betas: bool) -> Any:
    if "betas" in group and (by_betas or "momentum" not in group):
        return _value(group["betas"][0])
    return _value(group.get("momentum", 0))


def _value(setting: Any) -> Any:
    """Return a setting that may be a tensor, which schedules change in place, as a number."""
    return setting.item() if isinstance(setting, Tensor) else setting
