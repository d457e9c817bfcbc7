"""The Runner, its hooks and its checkpoints."""

from optimzoo.run.hooks.base import Hook, ParamSchedulerHook
from optimzoo.run.hooks.ema import EMAHook
from optimzoo.run.hooks.log import LoggerHook
from optimzoo.run.runner import Runner
from optimzoo.run.store.checkpoint import CheckpointHook
from optimzoo.run.store.history import History

__all__ = ["CheckpointHook", "EMAHook", "History", "Hook", "LoggerHook", "ParamSchedulerHook", "Runner"]
