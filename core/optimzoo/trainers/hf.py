"""Optimizers for the Trainer of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from optimzoo.errors import ConfigError
from optimzoo.trainers.common import build_optimizers, read_cfg

THEIRS = {
    "clip_grad": "max_grad_norm of TrainingArguments clips",
    "accumulative_counts": "gradient_accumulation_steps of TrainingArguments accumulates",
    "type": "the Trainer makes the step; bf16 or fp16 of TrainingArguments choose its precision",
}


def hf_optimizer(cfg: Mapping[str, Any]) -> tuple[type[HFOptimizer], dict[str, Any]]:
    """Return what ``Trainer(optimizer_cls_and_kwargs=...)`` takes.

    The parameter groups are those of ``cfg``: the Trainer's own split (``weight_decay`` of its arguments for matrices,
    none for norms and biases) does not apply, nor does its ``learning_rate``.

    Args:
        cfg: ``type`` and the optimizer's arguments; or ``optimizer``, ``paramwise_cfg`` and ``constructor`` as in
            ``optim_wrapper``.

    Raises:
        ConfigError: ``cfg`` is wrong, or has a setting that is the Trainer's affair.

    Examples:
        >>> from optimzoo.trainers.hf import hf_optimizer
        >>> optimizer = hf_optimizer(dict(
        ...     optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.1),
        ...     paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0)))
        >>> # Trainer(model=model, args=arguments, train_dataset=..., optimizer_cls_and_kwargs=optimizer)
    """
    cfg = read_cfg(cfg, THEIRS)
    return HFOptimizer, {"cfg": cfg}


class HFOptimizer:
    """Builds an optimizer where the Trainer has its model."""

    def __call__(self, model: nn.Module, cfg: Mapping[str, Any]) -> Optimizer:
        """Return the optimizer of ``cfg`` for ``model``.

        Raises:
            ConfigError: ``cfg`` does not suit the model, or describes several optimizers.
        """
        optimizers = build_optimizers(model, cfg, "The Trainer", {"modes", "curvature"})
        if len(optimizers) > 1:
            raise ConfigError("the Trainer takes one optimizer", "optim_wrapper")
        return optimizers[""]
