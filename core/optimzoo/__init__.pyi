# The public names, and the module each is loaded from.
from .build import build_optim_wrapper as build_optim_wrapper
from .build import build_optimizer as build_optimizer
from .build import build_param_scheduler as build_param_scheduler
from .config import load_config as load_config
from .constructors import DefaultOptimWrapperConstructor as DefaultOptimWrapperConstructor
from .hookspecs import hookimpl as hookimpl
from .runner import Runner as Runner
from .schedulers import ConstantLR as ConstantLR
from .schedulers import ConstantParamScheduler as ConstantParamScheduler
from .schedulers import CosineAnnealingLR as CosineAnnealingLR
from .schedulers import CosineAnnealingParamScheduler as CosineAnnealingParamScheduler
from .schedulers import LinearLR as LinearLR
from .schedulers import LinearParamScheduler as LinearParamScheduler
from .schedulers import MultiStepLR as MultiStepLR
from .schedulers import MultiStepParamScheduler as MultiStepParamScheduler
from .schedulers import ParamScheduler as ParamScheduler
from .schedulers import SchedulerGroup as SchedulerGroup
from .wrappers import AmpOptimWrapper as AmpOptimWrapper
from .wrappers import ApexOptimWrapper as ApexOptimWrapper
from .wrappers import BaseOptimWrapper as BaseOptimWrapper
from .wrappers import OptimWrapper as OptimWrapper
from .wrappers import OptimWrapperDict as OptimWrapperDict
from .wrappers import StepOutcome as StepOutcome
from .zoo import OPTIM_WRAPPER_CONSTRUCTORS as OPTIM_WRAPPER_CONSTRUCTORS
from .zoo import OPTIM_WRAPPERS as OPTIM_WRAPPERS
from .zoo import OPTIMIZERS as OPTIMIZERS
from .zoo import PARAM_SCHEDULERS as PARAM_SCHEDULERS

__version__: str
__all__: list[str]
