"""The plugin ``optimzoo``: what the engine itself registers, through the hook that every plugin uses."""

from __future__ import annotations

from optimzoo.hookspecs import Zoo, hookimpl

CURVES = {
    "Constant": "A constant factor inside the window",
    "CosineAnnealing": "Half a cosine down to a minimum",
    "Linear": "A straight line between two factors; the usual warm-up",
    "MultiStep": "A factor at each milestone",
}
"""The name of each curve, and one line about it; optimzoo.schedulers makes the classes."""

FAMILIES = {"LR": "the learning rate", "Momentum": "the momentum", "ParamScheduler": "any hyperparameter"}
"""The ending of a schedule's name, and what such a schedule acts on."""


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register the wrappers, the constructors and the schedules."""
    zoo.wrapper("OptimWrapper", "optimzoo.wrappers:OptimWrapper", about="Single precision, accumulation, clipping")
    zoo.wrapper("AmpOptimWrapper", "optimzoo.wrappers:AmpOptimWrapper", about="Mixed precision by torch.amp")
    zoo.wrapper("ApexOptimWrapper", "optimzoo.wrappers:ApexOptimWrapper", about="Mixed precision by NVIDIA's apex.amp")
    zoo.constructor(
        "DefaultOptimWrapperConstructor",
        "optimzoo.constructors:DefaultOptimWrapperConstructor",
        about="Parameter-wise multipliers by name and by kind of module",
    )
    zoo.constructor(
        "MultiOptimWrapperConstructor",
        "optimzoo.constructors:MultiOptimWrapperConstructor",
        about="One optimizer for each child module, or for each set of name patterns",
    )
    for curve, about in CURVES.items():
        for family, what in FAMILIES.items():
            zoo.scheduler(f"{curve}{family}", f"optimzoo.schedulers:{curve}{family}", about=f"{about}, for {what}")
