"""The command that makes the state of one optimizer into one of another."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from optimzoo.cli.groups import built
from optimzoo.cli.runs import CodeDir, Overrides, Trusted, run_config
from optimzoo.console import out
from optimzoo.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from optimzoo.transplant import Carried

STYLES = {"carried": "green", "converted": "cyan", "fresh": "yellow", "left": "yellow"}


def convert_state(
    old: Annotated[Path, typer.Argument(help="A checkpoint or a state dict of an optimizer.")],
    new: Annotated[Path, typer.Argument(help="The file to write, such as runs/new/checkpoint_00001000.pt.")],
    config: Annotated[Path, typer.Option(help="The config of what is to go on.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help="The optimizer that OLD is of, if OLD does not tell.")
    ] = None,
    overrides: Overrides = None,
    trust: Trusted = None,
    code_dir: CodeDir = None,
) -> None:
    """Write NEW: what OLD has of the optimizer's state, for the optimizer of a config, and say what became of each."""
    from optimzoo.run.parts import check_state, classes_of
    from optimzoo.run.store.checkpoint import PATTERN, save_checkpoint
    from optimzoo.transplant import convert_state as convert
    from optimzoo.transplant import read_state
    from optimzoo.wrappers.members import members

    if os.path.exists(new):
        raise ConfigError(f"{new} is there already: name another file, or remove it")
    content, state = read_state(old)
    with run_config(config, overrides, trust, code_dir) as cfg:
        model, wrapper = built(cfg)
        try:
            found, report = convert(wrapper, model, state, source)
        except CheckpointError as error:
            raise CheckpointError(f"the optimizer's state in {old} cannot be converted: {error}") from error
    ours, named = "optim_wrapper" in content and "format" in content, PATTERN.fullmatch(new.name)
    if ours:
        check_state(content, old)
        if named and int(named[1]) != content["iter"]:
            raise ConfigError(f"{new} is to hold step {content['iter']}: call it checkpoint_{content['iter']:08d}.pt")
        passes = max(content["backward_passes"].values(), default=0)
        each = members(wrapper)
        content["optimizers"] = classes_of(each)
        content["backward_passes"] = dict.fromkeys(each, passes)
    new.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint({**content, "optim_wrapper": found} if ours else found, new)
    _print(report)
    train = f"optimzoo train {config} --work-dir {new.absolute().parent} --resume --on-change config"
    train = train if named else f"Runner.from_cfg(cfg, resume={str(new)!r}, on_change='config')"
    use = train if ours else f"optim_wrapper.load_state_dict(torch.load({str(new)!r}))"
    out.print(f"\n{new} is written. Go on with {use}", highlight=False, soft_wrap=True)


def _print(report: Sequence[Carried]) -> None:
    table = Table("parameter", "outcome", "was of", "is for", "why")
    for each in report:
        table.add_row(each.name, Text(each.outcome, STYLES[each.outcome]), each.old, each.new, each.why)
    out.print(table)
    counts = Counter(each.outcome for each in report)
    out.print(", ".join(f"{counts[outcome]} {outcome}" for outcome in STYLES if counts[outcome]), highlight=False)
