"""The plugin ``optimzoo``: what the engine itself registers, through the hook that every plugin uses."""

from __future__ import annotations

from optimzoo.bundled import bundled_schedules
from optimzoo.names.hookspecs import Zoo, hookimpl


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register the wrappers, the constructors, ZeRO, parts, the hooks and the schedules."""
    zoo.wrapper("OptimWrapper", "optimzoo.wrappers:OptimWrapper", about="Single precision, accumulation, clipping")
    zoo.wrapper("AmpOptimWrapper", "optimzoo.wrappers:AmpOptimWrapper", about="Mixed precision by torch.amp")
    zoo.optimizer(
        "ZeroRedundancyOptimizer",
        "optimzoo.optimizers.zero:ZeroRedundancyOptimizer",
        about="ZeRO around the optimizer that optimizer_type names: its state is spread over processes",
        paper="https://arxiv.org/abs/1910.02054",
        needs=("process_group",),
    )
    zoo.optimizer(
        "Parts",
        "optimzoo.optimizers.parts:Parts",
        about="Several optimizers in one, each for a part of the parameters, such as Muon for hidden matrices",
        needs=("parts",),
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
    zoo.hook("NormsHook", "optimzoo.run:NormsHook", about="Logs the norms of gradients and updates of each group")
    zoo.hook("WandbHook", "optimzoo.run:WandbHook", about="Logs to Weights & Biases, offline by default")
    zoo.hook("MLflowHook", "optimzoo.run:MLflowHook", about="Logs to MLflow, to a local database by default")
    zoo.strategy("single", "optimzoo.run.spread.strategy:Single", about="One process trains the whole model")
    zoo.strategy("ddp", "optimzoo.run.spread.ddp:DDP", about="A copy of the model in each process")
    zoo.strategy("fsdp2", "optimzoo.run.spread.fsdp2:FSDP2", about="A share of every parameter in each process")
    for schedule in bundled_schedules():
        zoo.scheduler(schedule.name, f"optimzoo.schedules:{schedule.name}", about=schedule.about)
