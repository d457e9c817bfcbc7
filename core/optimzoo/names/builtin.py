"""The plugin ``optimzoo``: what the engine itself registers, through the hook that every plugin uses."""

from __future__ import annotations

from optimzoo.names.hookspecs import Zoo, hookimpl

CURVES = {
    "Constant": "A constant factor inside the window",
    "CosineAnnealing": "Half a cosine down to a minimum",
    "CosineRestart": "Half a cosine per period, each beginning anew",
    "Exponential": "A factor on every step",
    "InverseSqrt": "A linear warm-up, then the inverse square root of the step",
    "Lambda": "A function of the step, from a Python config",
    "Linear": "A straight line between two factors; the usual warm-up",
    "MultiStep": "A factor at each milestone",
    "OneCycle": "Up to a peak and down to nearly nothing",
    "Poly": "A power of the steps that are left",
    "QuadraticWarmup": "A parabola up from nearly zero",
    "ReduceOnPlateau": "A factor when a metric stops improving",
    "Sequence": "Other curves, one after another",
    "Step": "A factor every few steps",
    "WSD": "Warm-up, stay, and decay at the end",
}
"""The name of each curve, and one line about it; optimzoo.schedules makes the classes."""

FAMILIES = {"LR": "the learning rate", "Momentum": "the momentum", "ParamScheduler": "any hyperparameter"}
"""The ending of a schedule's name, and what such a schedule acts on."""


def families_of(curve: str) -> list[str]:
    """Return the families that a curve has: all, but there is no momentum that peaks like the rate of 1cycle."""
    return [family for family in FAMILIES if (curve, family) != ("OneCycle", "Momentum")]


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register the wrappers, the constructors, ZeRO, the hooks and the schedules."""
    zoo.wrapper("OptimWrapper", "optimzoo.wrappers:OptimWrapper", about="Single precision, accumulation, clipping")
    zoo.wrapper("AmpOptimWrapper", "optimzoo.wrappers:AmpOptimWrapper", about="Mixed precision by torch.amp")
    zoo.optimizer(
        "ZeroRedundancyOptimizer",
        "optimzoo.optimizers.zero:ZeroRedundancyOptimizer",
        about="ZeRO around the optimizer that optimizer_type names: its state is spread over processes",
        paper="https://arxiv.org/abs/1910.02054",
        needs=("process_group",),
    )
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
    zoo.hook("EMAHook", "optimzoo.run:EMAHook", about="Validates with an exponential moving average of the weights")
    zoo.strategy("single", "optimzoo.run.spread.strategy:Single", about="One process trains the whole model")
    zoo.strategy("ddp", "optimzoo.run.spread.ddp:DDP", about="A copy of the model in each process")
    zoo.strategy("fsdp2", "optimzoo.run.spread.fsdp2:FSDP2", about="A share of every parameter in each process")
    for curve, about in CURVES.items():
        for family in families_of(curve):
            name = f"{curve}{family}"
            zoo.scheduler(name, f"optimzoo.schedules:{name}", about=f"{about}, for {FAMILIES[family]}")
