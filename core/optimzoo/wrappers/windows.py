"""Windows of accumulation: the iterations whose gradients make one update, and how each loss counts in it."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import NoneType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from optimzoo.errors import CheckpointError, OptimzooError, OptimzooWarning
from optimzoo.values import as_count, is_number, number, whole_number
from optimzoo.wrappers.base import BaseOptimWrapper, StepOutcome
from optimzoo.wrappers.gradients import multiply
from optimzoo.wrappers.held import drop_held, set_sync
from optimzoo.wrappers.ownership import drop_all_but_own, versions, warn_of_changes, with_grad
from optimzoo.wrappers.weights import Weights

logger = logging.getLogger("optimzoo")

LOST = (
    "the state was saved inside a window of accumulation, whose first gradients are lost: save the grad of each "
    "parameter beside it, and set these before the next loss"
)


class Windows(BaseOptimWrapper):
    """Base of the wrappers that accumulate gradients."""

    def __init__(self, optimizer: Optimizer, accumulative_counts: int) -> None:
        self._accumulative_counts = as_count(accumulative_counts, "accumulative_counts", 1)
        super().__init__(optimizer)
        self._inner_count = self._first_count = 0  # iterations done, and those before the first of the windows
        self._max_counts = self._remainder_counts = -1
        self._window_open = self._finished = self._resumed = False
        self._versions: int | None = None
        self._weights: Weights | None = None
        self._weight_unit: Any = None
        self._process_group: Any = None
        self._others: tuple[Windows, ...] = ()  # of the OptimWrapperDict that this is a member of

    def optim_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Return the context for the forward pass; processes do not exchange gradients until these are used.

        Those of a member of an ``OptimWrapperDict`` exchange them each time, since losses of others come in between.

        Args:
            model: The model, or DistributedDataParallel around it, or the root of FSDP2's ``fully_shard``, which is
                told whether the coming backward pass exchanges gradients.
        """
        self._process_group = getattr(model, "process_group", None)
        sync = self.should_sync() or bool(self._others)
        if hasattr(model, "set_requires_gradient_sync"):
            if not (self._window_open or self._in_window):
                drop_held(model)
            set_sync(model, sync)
        elif not sync and hasattr(model, "no_sync"):
            return model.no_sync()  # type: ignore[operator, no-any-return]
        return nullcontext()

    @property
    def _scales(self) -> bool:
        """Whether the loss is scaled for its backward pass."""
        return False

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Tell the wrapper how long the run is, so that a last, smaller window of gradients is used and weighted right.

        Args:
            model: The model in training.
            init_counts: Iterations already done.
            max_counts: Iterations in the whole run; -1 if unknown.
        """
        if init_counts != self._inner_count:
            self._first_count, self._window_open = 0, False
        elif init_counts == self._max_counts:  # a run that has ended is made longer
            self._first_count = init_counts
        divisor = self._divisor_of_window()
        self._inner_count = init_counts
        self._finished = False
        self._set_length(max_counts, divisor)
        if self._accumulative_counts > 1:
            if self._in_window and not with_grad(self.optimizer):
                logger.warning("resumed inside an accumulation window; its first gradients are lost")
                self._resumed = False
            if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
                logger.warning("the model has batch norm, which sees one iteration at a time, not the whole update")

    def _set_length(self, max_counts: int, divisor: int | None = None) -> None:
        """Know how long the run is; gradients of an open window that were divided by ``divisor`` are divided anew."""
        self._max_counts = max_counts
        self._remainder_counts = (max_counts - self._first_count) % self._accumulative_counts
        now = self._divisor_of_window()
        if divisor and now and divisor != now:
            multiply(self._with_gradients(), divisor / now)
            self._versions = None
            if self._weights is not None:
                self._weights.divisor = now

    def _divisor_of_window(self) -> int | None:
        """Return what the losses of an open window were divided by; None if there is none, or the run has ended."""
        is_open = self._window_open and self._in_window and not 0 <= self._max_counts <= self._inner_count
        return self._divisor() if is_open else None

    def should_update(self) -> bool:
        """Whether the gradients accumulated so far make an update. Asked after the backward pass."""
        return self._in_window == 0

    def should_sync(self) -> bool:
        """Whether the coming backward pass completes an update. Asked before the forward pass."""
        return self._window_at(self._inner_count + 1) == 0

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Divide ``loss`` by the number of iterations whose gradients make the current update."""
        divisor = self._divisor()
        return loss if divisor == 1 else loss / divisor

    @property
    def _in_window(self) -> int:
        """How many iterations the window has so far; 0 when it is full, or the run at its end."""
        return self._window_at(self._inner_count)

    def _window_at(self, count: int) -> int:
        return 0 if count == self._max_counts else (count - self._first_count) % self._accumulative_counts

    def _divisor(self) -> int:
        factor = self._accumulative_counts
        if factor > 1 and self._max_counts != -1 and self._inner_count >= self._max_counts - self._remainder_counts:
            factor = self._remainder_counts
            if self._inner_count >= self._max_counts:
                raise OptimzooError(
                    f"iteration {self._inner_count + 1} is past the end, {self._max_counts}, that was given to "
                    "initialize_count_status"
                )
        return factor

    @property
    def inner_count(self) -> int:
        """Iterations done, that is, backward passes."""
        return self._inner_count

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "_versions": None})

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, with ``counts`` of iterations and of updates skipped, so that windows go on."""
        counts: dict[str, Any] = {"inner_count": self._inner_count, "max_counts": self._max_counts}
        counts.update(window=self._in_window, accumulative_counts=self._accumulative_counts)
        counts["updates"] = self.update_count
        if self.skipped_count:
            counts["skipped"] = self.skipped_count
        if self._weights is not None:
            counts.update(weight_unit=self._weights.unit, weight_total=self._weights.total)
        return {**super().state_dict(), "counts": counts}

    def _load_own(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where the state says that a run had come, for as long as it was meant to go, or as was said here."""
        if "counts" not in state_dict:
            return
        counts = state_dict["counts"]
        try:
            done, length = whole_number(counts["inner_count"], "inner_count", 0), counts["max_counts"]
            whole_number(length, "max_counts", -1)
            skipped = whole_number(counts.get("skipped", 0), "skipped", 0)
            updates = whole_number(counts.get("updates", self.update_count), "updates", 0)
            size = whole_number(counts.get("accumulative_counts", self._accumulative_counts), "accumulative_counts", 1)
            begun = whole_number(counts.get("window", 0 if done == length else done % size), "window", 0)
            if begun > min(done, size - 1):
                raise ValueError(f"a window of {size} cannot have {begun} of {done} iterations")
            for key in ("weight_unit", "weight_total"):
                if not isinstance(counts.get(key), (Tensor, NoneType)):
                    number(counts[key], key, 0, sys.float_info.max)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise CheckpointError(f"its 'counts' do not say how far a run had come: {error!r}") from error
        was_scaled = bool(state_dict.get("loss_scaler"))
        same = size == self._accumulative_counts and was_scaled is self._scales
        if begun and not same:
            what = f"accumulative_counts was {size} and is {self._accumulative_counts}"
            if size == self._accumulative_counts:
                what = f"losses were {'' if was_scaled else 'not '}scaled and are {'not ' if was_scaled else ''}now"
            warnings.warn(
                f"{what}: the gradients of the {begun} iterations in a window that was open are dropped",
                OptimzooWarning,
                stacklevel=4,
            )
        self._window_open = self._resumed = same and begun > 0  # its gradients are not for the losses of other members
        self._versions = self._weights = None
        self._count_from(done, updates, skipped)
        self._first_count = done - begun if same else done
        meant = self._max_counts
        self._set_length(length)
        if meant != -1:
            self._set_length(meant, self._divisor_of_window())
        self._finished = 0 <= self._max_counts <= done
        if "weight_unit" in counts and same:
            self._weights = self._new_weights()
            self._weights.unit, self._weights.total = counts["weight_unit"], counts.get("weight_total") or 0.0

    def _count_from(self, iterations: int, updates: int, skipped: int) -> None:
        self._updates_loaded += updates - self.update_count
        self._inner_count, self.update_count, self.skipped_count = iterations, updates, skipped

    def _begin_window(self) -> bool:
        """Begin a window, unless one is open, by dropping the gradients that are there; return whether one began."""
        if self._window_open:
            if self._resumed and not with_grad(self.optimizer):
                warnings.warn(LOST, OptimzooWarning, stacklevel=4)
            self._resumed = False
            if self._versions not in (None, versions(self.optimizer)):
                warn_of_changes()
            self._versions = None
            return False
        self._window_open = True
        if self._finished:  # the run whose state was loaded; this is another
            self._finished, self._first_count, self._max_counts = False, 0, -1
            self._count_from(0, 0, 0)
        if self._in_window:
            return False  # resumed
        self._weights = None
        drop_all_but_own(self.optimizer)
        return True

    def _accumulated(self) -> StepOutcome:
        self._versions = versions(self.optimizer)
        return StepOutcome.ACCUMULATING

    def _weighted(self, loss: Tensor, weight: float | Tensor | None, began: bool) -> Tensor:
        if began and weight is not None:
            self._weights = self._new_weights()
        elif (weight is None) is not (self._weights is None):
            raise OptimzooError("the losses of an update all have a weight, or none has")
        if weight is None or self._weights is None:
            return loss
        factor = self._weights.factor(weight)
        self._weight_unit = self._weights.unit
        return loss if is_number(factor) and factor == 1 else loss * factor

    def _new_weights(self) -> Weights:
        device = self.optimizer.param_groups[0]["params"][0].device
        return Weights(self._divisor(), device, self._process_group, self._weight_unit)

    def _with_gradients(self) -> list[Tensor]:
        """Return what has the gradients of an update, to whoever works on these number by number."""
        return with_grad(self.optimizer)

    def _apply_weights(self) -> None:
        if self._weights is not None:
            multiply(self._with_gradients(), self._weights.correction)
            self._weights = None
