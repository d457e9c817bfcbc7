"""The mixed-precision wrapper on torch.amp, for whatever device the parameters are on."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import CheckpointError, ConfigError, OptimzooError, OptimzooWarning, join_path, shown
from optimzoo.values import is_number, number, one_of, plain, scalar, whole_number
from optimzoo.wrappers.base import StepOutcome
from optimzoo.wrappers.optim_wrapper import OptimWrapper
from optimzoo.wrappers.ownership import with_grad

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
SCALES = (1e-45, torch.finfo(torch.float32).max)
"""What a loss scale, a float32 on the device, may be."""
FACTORS = {"growth_factor": (1 + 1e-6, SCALES[1]), "backoff_factor": (1e-6, 1 - 1e-6)}
OF_THE_SCALER = {"init_scale": SCALES, "scale": SCALES, **FACTORS}
COUNTS = {"growth_interval": 1, "_growth_tracker": 0}


class AmpOptimWrapper(OptimWrapper):
    """Runs the forward pass under autocast, and scales the loss where gradients could underflow (float16).

    An update is scale, backward, unscale, clip, step, adapt the scale, zero_grad. Gradients that overflow under the
    scale skip the update: ``StepOutcome.SKIPPED``. To know that, the host waits for the device once per update; it does
    not under bfloat16, which needs no scale.

    Args:
        loss_scale: ``"dynamic"``, a number for a scale that stays, or the arguments of ``torch.amp.GradScaler``.
        dtype: What to autocast to: ``"float16"``, ``"bfloat16"``, ``"float32"``, ``"float64"`` or a ``torch.dtype``;
            None for the device's default (float16 on CUDA, bfloat16 on a CPU). The last two autocast nothing.
        use_fsdp: Whether the parameters are sharded, so that processes must agree on an overflow.
        optimizer: The optimizer to wrap, its parameters on the device of the training.
        accumulative_counts: As for ``OptimWrapper``.
        clip_grad: As for ``OptimWrapper``; the norm is that of the unscaled gradients.
        nonfinite: As for ``OptimWrapper``; under a dynamic scale an overflow is no error but a skipped update.
        flatten: As for ``OptimWrapper``.
        compile: As for ``OptimWrapper``.
        cache_enabled: Whether autocast keeps the weights that it has cast until the forward pass ends.
        enabled: False trains as ``OptimWrapper`` does.

    Raises:
        ConfigError: An argument is wrong.

    Examples:
        >>> import torch
        >>> from optimzoo import AmpOptimWrapper
        >>> model = torch.nn.Linear(1, 1)
        >>> wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), dtype="bfloat16")
        >>> with wrapper.optim_context(model):
        ...     output = model(torch.ones(4, 1))
        >>> output.dtype
        torch.bfloat16
        >>> wrapper.update_params(output.float().square().mean())
        <StepOutcome.UPDATED: 'updated'>
    """

    def __init__(
        self,
        loss_scale: str | float | Mapping[str, Any] = "dynamic",
        dtype: str | torch.dtype | None = None,
        use_fsdp: bool = False,
        *,
        optimizer: Optimizer,
        accumulative_counts: int = 1,
        clip_grad: Mapping[str, Any] | None = None,
        nonfinite: str = "ignore",
        flatten: bool = False,
        compile: bool = False,  # noqa: A002
        cache_enabled: bool | None = None,
        enabled: bool = True,
    ) -> None:
        super().__init__(optimizer, accumulative_counts, clip_grad, nonfinite, flatten, compile)
        self._device_type: str = next(p for group in optimizer.param_groups for p in group["params"]).device.type
        if not torch.amp.is_autocast_available(self._device_type):
            raise ConfigError(f"torch has no autocast for {self._device_type!r}, where the parameters are", "type")
        if isinstance(dtype, str):
            dtype = DTYPES[one_of(dtype, DTYPES, "dtype")]
        self.cast_dtype = one_of(dtype, (None, *DTYPES.values()), "dtype")
        cast_to = self.cast_dtype or torch.get_autocast_dtype(self._device_type)
        self._autocast: dict[str, Any] = {
            "dtype": cast_to,
            "enabled": enabled and cast_to in (torch.float16, torch.bfloat16),
            "cache_enabled": cache_enabled,
        }
        scale: Any = plain(scalar(loss_scale), "loss_scale")
        self._scale_update_param = float(scale) if is_number(scale) else None
        scaler_cls: Any = GradScaler
        if use_fsdp:
            from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

            scaler_cls = ShardedGradScaler
        self.shares_scale = False
        defaults = {"device": self._device_type, "enabled": enabled and cast_to is torch.float16}
        self.loss_scaler: GradScaler = scaler_cls(**{**defaults, **_scaler_arguments(scale)})
        if self._scales and any(p.dtype is torch.float16 for group in optimizer.param_groups for p in group["params"]):
            raise ConfigError(
                "torch takes no loss scale out of gradients in float16, as those of float16 parameters are: leave the "
                "model in float32, which autocast casts, or use dtype='bfloat16'",
                "type",
            )

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Scale ``loss``, back-propagate it and count the iteration.

        Args:
            loss: A scalar, divided by ``scale_loss`` if gradients are accumulated.
            **kwargs: Keyword arguments of ``Tensor.backward``.
        """
        super().backward(self.loss_scaler.scale(loss), **kwargs)

    def step(self, **kwargs: Any) -> StepOutcome:
        """Unscale and clip the gradients, update the parameters unless one overflowed, and adapt the scale.

        Args:
            **kwargs: Keyword arguments of ``optimizer.step``.

        Raises:
            OptimzooError: A closure is given, and the loss is scaled.
        """
        scaler = self.loss_scaler
        if not scaler.is_enabled() or not with_grad(self.optimizer):
            return super().step(**kwargs)
        self._check_step()
        if self._needs_graph:
            raise OptimzooError("second derivatives of a scaled loss would be scaled too. Use dtype='bfloat16'")
        if self._needs_closure or "closure" in kwargs:
            raise OptimzooError("a step that evaluates the loss itself cannot scale it. Use dtype='bfloat16'")
        self._refuse_what_is("left", "scaled")
        if not self._window_open:
            self._tell_of_foreign_gradients()
        static = self._scale_update_param is not None
        with nullcontext() if self._flat is None else self._flat.joined():
            scaler.unscale_(self.optimizer)
        overflowed = any(found.item() for found in scaler._found_inf_per_device(self.optimizer).values())
        try:
            if overflowed:
                if static:
                    self._prepare_grads()  # which raises, if that is the policy
                return self._record(StepOutcome.SKIPPED)
            self._own_step = True
            self._clip_grad()
            return self._record(self._update(kwargs))
        finally:
            if not self.shares_scale:
                self.adapt_scale()

    def _tell_of_foreign_gradients(self) -> None:
        """Say that gradients of another backward pass are divided by the scale; refuse them where it is not begun."""
        what = "these gradients are not those of wrapper.backward(loss), which scales the loss"
        if self.loss_scaler._scale is None:
            raise OptimzooError(f"{what}: call that, or update_params(loss)")
        divided = f"{what}: if loss_scaler.scale did not either, they are divided by {self.loss_scaler.get_scale():g}"
        warnings.warn(f"{divided} for nothing", OptimzooWarning, stacklevel=3)

    @property
    def _scales(self) -> bool:
        return self.loss_scaler.is_enabled()

    def adapt_scale(self) -> None:
        """Adapt the scale to what was found in the gradients of all the optimizers that it was used for."""
        self.loss_scaler.update()
        if self._scale_update_param is not None:
            self.loss_scaler.update(self._scale_update_param)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Return the context for the forward pass: autocast, and no exchange of gradients until these are used."""
        with super().optim_context(model), torch.autocast(self._device_type, **self._autocast):
            yield

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, with that of the loss scaler as ``loss_scaler``."""
        return {**super().state_dict(), "loss_scaler": self.loss_scaler.state_dict()}

    def _load_own(self, state_dict: Mapping[str, Any]) -> None:
        """Load the counts, and the scale if the state has one."""
        super()._load_own(state_dict)
        saved = state_dict.get("loss_scaler")
        if self.loss_scaler.is_enabled() and saved:
            self.loss_scaler = copy.copy(self.loss_scaler)
            try:
                _check_scaler(saved)
                self.loss_scaler.load_state_dict(dict(saved))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise CheckpointError(f"its loss_scaler is not that of a GradScaler: {error!r}") from error


def _scaler_arguments(loss_scale: Any) -> dict[str, Any]:
    if loss_scale == "dynamic":
        return {}
    if is_number(loss_scale):
        return {"init_scale": number(loss_scale, "loss_scale", *SCALES)}
    if isinstance(loss_scale, Mapping):
        calls.read(GradScaler, loss_scale, "loss_scale")
        _check_scaler(loss_scale, "loss_scale")
        return dict(loss_scale)
    raise ConfigError(
        f"'dynamic', a number or the arguments of a GradScaler are wanted, got {shown(loss_scale)}", "loss_scale"
    )


def _check_scaler(settings: Mapping[str, Any], path: str = "") -> None:
    for key in settings.keys() & {*OF_THE_SCALER, *COUNTS}:
        place = join_path(path, key)
        if key in COUNTS:
            whole_number(settings[key], place, COUNTS[key])
        else:
            number(settings[key], place, *OF_THE_SCALER[key])
