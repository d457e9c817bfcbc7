"""The Runner, its hooks and its checkpoints."""

from optimzoo.runner.checkpoint import CheckpointHook
from optimzoo.runner.ema import EMAHook
from optimzoo.runner.history import History
from optimzoo.runner.hooks import Hook, ParamSchedulerHook
from optimzoo.runner.log import LoggerHook
from optimzoo.runner.runner import Runner

__all__ = ["CheckpointHook", "EMAHook", "History", "Hook", "LoggerHook", "ParamSchedulerHook", "Runner"]
