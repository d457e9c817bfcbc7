"""The commands that take a config: train and check."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimzoo.console import out, say
from optimzoo.errors import did_you_mean, near
from optimzoo.names.trust import UnseenError, modules_in, under

if TYPE_CHECKING:
    from optimzoo.config.load import Config

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A .toml, .yaml, .json or .py file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key: optim_wrapper.optimizer.lr=1e-3. May be repeated."),
]
Trusted = Annotated[
    list[str] | None,
    typer.Option("--trust", metavar="PACKAGE", help="Let a config that is data call code of it. May be repeated."),
]
CodeDir = Annotated[
    Path | None, typer.Option(help="Where the modules of the config are, instead of beside it.", file_okay=False)
]


class OnChange(StrEnum):
    """What ``schedules.resume.ON_CHANGE`` lists, which is slow to import."""

    error = "error"
    restore = "restore"
    config = "config"


def train(
    config: ConfigPath,
    overrides: Overrides = None,
    trust: Trusted = None,
    code_dir: CodeDir = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the newest checkpoint in the work dir.")
    ] = False,
    on_change: Annotated[
        OnChange,
        typer.Option(
            help="If schedules differ from the checkpoint's: stop, keep the checkpoint's, or take the config's, with "
            "its learning rates and weight decays.",
        ),
    ] = OnChange.error,
    work_dir: Annotated[
        str | None, typer.Option(help="Where results go, instead of the config's work_dir or runs/<config name>.")
    ] = None,
) -> None:
    """Train the model that CONFIG describes."""
    if on_change != OnChange.error and not resume:
        raise typer.BadParameter("it says how to go on: give --resume, too", param_hint="--on-change")
    with run_config(config, overrides, trust, code_dir) as cfg:
        if work_dir is not None:
            cfg["work_dir"] = work_dir
        from optimzoo.run import Runner

        runner = Runner.from_cfg(cfg, resume=resume, on_change=on_change.value)
        try:
            runner.train()
        except KeyboardInterrupt as error:
            raise typer.Exit(128 + signal.SIGINT) from error


def check(config: ConfigPath, overrides: Overrides = None, trust: Trusted = None, code_dir: CodeDir = None) -> None:
    """Resolve every name and key of CONFIG without training; list every problem, and exit with 1 if there is one.

    What is not looked at, for its code is not trusted, is a note, and no problem.
    """
    with run_config(config, overrides, trust, code_dir, looks=True) as cfg:
        from optimzoo.run.check import config_problems

        problems = config_problems(cfg)
    unseen = [problem for problem in problems if isinstance(problem, UnseenError)]
    for problem in problems:
        say(*("note", problem, "cyan") if problem in unseen else ("problem", problem, "bold red"))
    if len(problems) > len(unseen):
        raise typer.Exit(1)
    out.print(f"{config}: no problem found{' in what was looked at' * bool(unseen)}", highlight=False)
    out.print("what only the first step shows: whether model, data, loss and metrics work together", highlight=False)
    if cfg.get("param_scheduler"):
        out.print("what `optimzoo plot` shows: whether schedules that count iterations fit the run", highlight=False)


@contextlib.contextmanager
def run_config(
    path: Path, overrides: list[str] | None, trusted: list[str] | None, code_dir: Path | None, looks: bool = False
) -> Iterator[Config]:
    """Read a run config; inside the context it may name code of modules beside it, and if it is data no other."""
    is_program = path.suffix.lower() == ".py"
    if is_program:
        ignored = ", and may name anything: --trust changes nothing" if trusted else ""
        say("note", f"{path} is a Python config: it is being run as a program{ignored}", "cyan")
    from optimzoo.config.load import load_config
    from optimzoo.config.trusted import code_folder, trust_for

    cfg = load_config(path, overrides or ())
    cfg.setdefault("work_dir", f"runs/{path.stem}")
    if is_program:
        cfg = _without_helpers(cfg)
    if code_dir is not None:
        cfg["code_dir"] = str(code_dir.resolve())
    elif not is_program:
        cfg["code_dir"] = str(code_folder(cfg, path))
    cfg.setdefault("code_dir", str(path.parent.resolve()))
    trust = None if is_program else trust_for(path, trusted or (), Path(cfg["code_dir"]), looks)
    with under(trust), modules_in(cfg["code_dir"]):
        yield cfg


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
