"""The Runner, its hooks, its strategies and its checkpoints."""

from optimzoo.run.hooks.base import Hook
from optimzoo.run.hooks.checkpoint import CheckpointHook
from optimzoo.run.hooks.ema import EMAHook
from optimzoo.run.hooks.log import LoggerHook
from optimzoo.run.hooks.log_to import Logger, LogTo, MLflowHook, WandbHook
from optimzoo.run.hooks.norms import NormsHook
from optimzoo.run.hooks.run import Run
from optimzoo.run.hooks.schedules import ParamSchedulerHook
from optimzoo.run.hooks.tensorboard import TensorBoardHook
from optimzoo.run.runner import Runner
from optimzoo.run.spread.strategy import Strategy
from optimzoo.run.store.history import History

__all__ = [
    "CheckpointHook",
    "EMAHook",
    "History",
    "Hook",
    "LogTo",
    "Logger",
    "LoggerHook",
    "MLflowHook",
    "NormsHook",
    "ParamSchedulerHook",
    "Run",
    "Runner",
    "Strategy",
    "TensorBoardHook",
    "WandbHook",
]
