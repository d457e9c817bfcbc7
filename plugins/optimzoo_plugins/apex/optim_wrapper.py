"""The mixed-precision wrapper on NVIDIA's apex.amp."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optimzoo.errors import MissingDependencyError
from optimzoo.wrappers import OptimWrapper, StepOutcome

INSTALL = "pip install --no-build-isolation git+https://github.com/NVIDIA/apex"


class ApexOptimWrapper(OptimWrapper):
    """Trains in mixed precision by ``apex.amp``, which converts the model and the optimizer in the first context.

    NVIDIA has deprecated apex.amp and takes it out of newer versions; ``AmpOptimWrapper`` replaces it.

    Args:
        opt_level: ``"O0"`` to ``"O3"``. This and the arguments down to ``max_loss_scale`` are those of
            ``apex.amp.initialize``; see its documentation.
        loss_scale: ``"dynamic"``, or a number, as a string or not.
        enabled: False trains as ``OptimWrapper`` does.
        cast_model_type: See there.
        patch_torch_functions: See there.
        keep_batchnorm_fp32: See there.
        master_weights: See there.
        cast_model_outputs: See there.
        num_losses: See there.
        verbosity: See there.
        min_loss_scale: See there.
        max_loss_scale: See there.
        optimizer: The optimizer to wrap.
        accumulative_counts: As for ``OptimWrapper``.
        clip_grad: As for ``OptimWrapper``.
        nonfinite: As for ``OptimWrapper``.

    Raises:
        MissingDependencyError: apex.amp cannot be imported.
        ConfigError: An argument is wrong.
    """

    patches_model = True

    def __init__(
        self,
        opt_level: str = "O1",
        loss_scale: float | str | None = "dynamic",
        enabled: bool = True,
        cast_model_type: torch.dtype | None = None,
        patch_torch_functions: bool | None = None,
        keep_batchnorm_fp32: bool | str | None = None,
        master_weights: bool | None = None,
        cast_model_outputs: torch.dtype | None = None,
        num_losses: int = 1,
        verbosity: int = 1,
        min_loss_scale: float | None = None,
        max_loss_scale: float | None = 2.0**24,
        *,
        optimizer: Optimizer,
        accumulative_counts: int = 1,
        clip_grad: Mapping[str, Any] | None = None,
        nonfinite: str = "ignore",
    ) -> None:
        super().__init__(optimizer, accumulative_counts, clip_grad, nonfinite)
        self._amp = _apex_amp()
        self._initialize_kwargs = {
            "opt_level": opt_level,
            "loss_scale": loss_scale,
            "enabled": enabled,
            "cast_model_type": cast_model_type,
            "patch_torch_functions": patch_torch_functions,
            "keep_batchnorm_fp32": keep_batchnorm_fp32,
            "master_weights": master_weights,
            "cast_model_outputs": cast_model_outputs,
            "num_losses": num_losses,
            "verbosity": verbosity,
            "min_loss_scale": min_loss_scale,
            "max_loss_scale": max_loss_scale,
        }
        self._initialized = False
        self._loaded: Mapping[str, Any] | None = None

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Scale ``loss``, back-propagate it and count the iteration.

        Args:
            loss: A scalar, divided by ``scale_loss`` if gradients are accumulated.
            **kwargs: Keyword arguments of ``Tensor.backward``.
        """
        with self._amp.scale_loss(loss, self.optimizer) as scaled_loss:
            super().backward(scaled_loss, **kwargs)

    def _update(self, kwargs: Mapping[str, Any]) -> StepOutcome:
        stepped = []
        # After an overflow apex puts an empty function in the place of the optimizer's step.
        handle = self.optimizer.register_step_post_hook(lambda *_: stepped.append(True))
        try:
            self.optimizer.step(**kwargs)
        finally:
            handle.remove()
        return StepOutcome.UPDATED if stepped else StepOutcome.SKIPPED

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Return the context for the forward pass; the first one converts ``model`` and the optimizer."""
        with super().optim_context(model):
            if not self._initialized:
                inner = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
                _, self.optimizer = self._amp.initialize(inner, self.optimizer, **self._initialize_kwargs)
                self._initialized = True
                if self._loaded is not None:
                    self._amp.load_state_dict(self._loaded)
            yield

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, with that of apex.amp as ``apex_amp``."""
        return {**super().state_dict(), "apex_amp": self._amp.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load what ``state_dict`` returned; apex's part waits for the first context."""
        super().load_state_dict(state_dict)
        self._loaded = state_dict.get("apex_amp")
        if self._initialized and self._loaded is not None:
            self._amp.load_state_dict(self._loaded)


def _apex_amp() -> Any:
    try:
        return importlib.import_module("apex.amp")
    except ImportError as error:
        try:
            importlib.import_module("apex")
        except ImportError:
            why = "it is not installed"
        else:
            why = "the installed 'apex' is PyPI's, which is another package, or a version of NVIDIA's without apex.amp"
        raise MissingDependencyError(
            f"ApexOptimWrapper needs NVIDIA's apex with apex.amp: {why}. Build it from its repository, with CUDA: "
            f"{INSTALL} (in a version that still has apex.amp), or use AmpOptimWrapper",
            INSTALL,
        ) from error
