# The public names, and the module each is loaded from.
from .build import build_optim_wrapper as build_optim_wrapper
from .build import build_optimizer as build_optimizer
from .config import load_config as load_config
from .constructors import DefaultOptimWrapperConstructor as DefaultOptimWrapperConstructor
from .constructors import LayerDecayOptimWrapperConstructor as LayerDecayOptimWrapperConstructor
from .constructors import MultiOptimWrapperConstructor as MultiOptimWrapperConstructor
from .errors import CheckpointError as CheckpointError
from .errors import ConfigError as ConfigError
from .errors import LostProcessError as LostProcessError
from .errors import MissingDependencyError as MissingDependencyError
from .errors import NonFiniteError as NonFiniteError
from .errors import OptimzooError as OptimzooError
from .errors import OptimzooWarning as OptimzooWarning
from .errors import PluginError as PluginError
from .errors import PluginWarning as PluginWarning
from .errors import UnknownNameError as UnknownNameError
from .errors import WriteError as WriteError
from .names.hookspecs import hookimpl as hookimpl
from .names.zoo import HOOKS as HOOKS
from .names.zoo import OPTIM_WRAPPER_CONSTRUCTORS as OPTIM_WRAPPER_CONSTRUCTORS
from .names.zoo import OPTIM_WRAPPERS as OPTIM_WRAPPERS
from .names.zoo import OPTIMIZERS as OPTIMIZERS
from .names.zoo import PARAM_SCHEDULERS as PARAM_SCHEDULERS
from .names.zoo import STRATEGIES as STRATEGIES
from .optimizers.average import EMA as EMA
from .optimizers.zero import ZeroRedundancyOptimizer as ZeroRedundancyOptimizer
from .run import EMAHook as EMAHook
from .run import Hook as Hook
from .run import Runner as Runner
from .schedules import INF as INF
from .schedules import LRSchedulerMixin as LRSchedulerMixin
from .schedules import MomentumSchedulerMixin as MomentumSchedulerMixin
from .schedules import ParamScheduler as ParamScheduler
from .schedules import SchedulerGroup as SchedulerGroup
from .schedules import _ParamScheduler as _ParamScheduler
from .schedules.build import build_param_scheduler as build_param_scheduler
from .schedules.curves import *  # noqa: F403
from .schedules.preview import plot_schedules as plot_schedules
from .wrappers import AmpOptimWrapper as AmpOptimWrapper
from .wrappers import ApexOptimWrapper as ApexOptimWrapper
from .wrappers import BaseOptimWrapper as BaseOptimWrapper
from .wrappers import OptimWrapper as OptimWrapper
from .wrappers import OptimWrapperDict as OptimWrapperDict
from .wrappers import StepOutcome as StepOutcome

__version__: str
__all__: list[str]
