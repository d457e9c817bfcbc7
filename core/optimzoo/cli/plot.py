"""The command that draws the schedules of a config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimzoo.cli.groups import built
from optimzoo.cli.runs import CodeDir, ConfigPath, Overrides, Trusted, run_config
from optimzoo.console import out
from optimzoo.errors import ConfigError
from optimzoo.names.trust import UnseenError


def plot(
    config: ConfigPath,
    overrides: Overrides = None,
    trust: Trusted = None,
    code_dir: CodeDir = None,
    picture: Annotated[Path, typer.Option("--out", help="The picture to write.")] = Path("schedules.png"),
    table: Annotated[bool, typer.Option("--table", help="Print the values at the corners instead.")] = False,
    epoch_length: Annotated[
        int | None, typer.Option(min=1, help="Iterations in an epoch, to spare building the data.")
    ] = None,
    build_model: Annotated[
        bool, typer.Option("--build-model", help="Build the model too, for groups that depend on it, as layer decay's.")
    ] = False,
) -> None:
    """Draw what the schedules of CONFIG will do to every hyperparameter; the model is built only on request."""
    from optimzoo.run.data import loaders
    from optimzoo.run.loop.train_cfg import TrainPlan
    from optimzoo.schedules.preview import plot_schedules, schedule_courses, schedule_table

    with run_config(config, overrides, trust, code_dir, looks=not build_model) as cfg:
        for key in ("optim_wrapper", "train_cfg"):
            if key not in cfg:
                raise ConfigError("it is missing", key)
        plan = TrainPlan.from_cfg(cfg["train_cfg"])
        if epoch_length is None and plan.by_epoch and "train_dataloader" in cfg:
            try:
                loader = loaders.build_dataloader(cfg["train_dataloader"], "train_dataloader", 0)
            except UnseenError as error:
                raise UnseenError(
                    f"{error.problem}, or the length of an epoch: --epoch-length N", error.path
                ) from error
            epoch_length = loaders.epoch_length(loader)
        if build_model:
            cfg = {**cfg, "optim_wrapper": built(cfg)[1]}
        lengths = {"epoch_length": epoch_length, "max_epochs": plan.max_epochs, "max_iters": plan.max_iters}
        if table:
            out.print(schedule_table(schedule_courses(cfg, **lengths)))
        else:
            plot_schedules(cfg, picture, **lengths, title=config.name)
            out.print(f"wrote {picture}", highlight=False)
