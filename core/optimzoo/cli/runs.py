"""The commands that take a config: train and check."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimzoo.console import out, say
from optimzoo.errors import did_you_mean, near

if TYPE_CHECKING:
    from optimzoo.config.load import Config

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A .toml, .yaml, .json or .py file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key: optim_wrapper.optimizer.lr=1e-3. May be repeated."),
]


def train(
    config: ConfigPath,
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the newest checkpoint in the work dir.")
    ] = False,
    on_change: Annotated[
        str,
        typer.Option(
            metavar="error|restore|config",
            help="If schedules differ from the checkpoint's: stop, keep the checkpoint's, or take the config's, with "
            "its learning rates and weight decays.",
        ),
    ] = "error",
    work_dir: Annotated[
        str | None, typer.Option(help="Where results go, instead of the config's work_dir or runs/<config name>.")
    ] = None,
) -> None:
    """Train the model that CONFIG describes."""
    cfg = read_run_config(config, overrides)
    if work_dir is not None:
        cfg["work_dir"] = work_dir
    from optimzoo.run import Runner

    runner = Runner.from_cfg(cfg, resume=resume, on_change=on_change)
    try:
        runner.train()
    except KeyboardInterrupt as error:
        raise typer.Exit(128 + signal.SIGINT) from error


def check(config: ConfigPath, overrides: Overrides = None) -> None:
    """Resolve every name and key of CONFIG without training; list every problem, and exit with 1 if there is one."""
    cfg = read_run_config(config, overrides)
    from optimzoo.run.check import config_problems

    problems = config_problems(cfg)
    for problem in problems:
        say("problem", problem, "bold red")
    if problems:
        raise typer.Exit(1)
    out.print(f"{config}: no problem found", highlight=False)


def read_run_config(path: Path, overrides: list[str] | None) -> Config:
    """Read a run config, and let it name functions and classes of modules beside it."""
    is_program = path.suffix.lower() == ".py"
    if is_program:
        say("note", f"{path} is a Python config: it is being run as a program", "cyan")
    from optimzoo.config.load import load_config

    cfg = load_config(path, overrides or ())
    cfg.setdefault("code_dir", str(path.parent.resolve()))
    cfg.setdefault("work_dir", f"runs/{path.stem}")
    return _without_helpers(cfg) if is_program else cfg


def _without_helpers(cfg: dict[str, Any]) -> Config:
    """Drop the names of a Python config that are no keys, with a warning where one may be a misspelt key."""
    from optimzoo.run.reading import KEYS, OF_MMENGINE

    for name in (n for n in cfg if n not in KEYS and cfg[n] is not None):
        meant = near(name, KEYS, limit=1)
        if name in OF_MMENGINE:
            say("warning", f"{name}: there is no such key, and it is left out. Here {OF_MMENGINE[name]}.", "yellow")
        elif meant and meant[0] not in cfg:
            say("warning", f"{name}: there is no such key; it is taken for a helper.{did_you_mean(meant)}", "yellow")
    return {key: value for key, value in cfg.items() if key in KEYS}
