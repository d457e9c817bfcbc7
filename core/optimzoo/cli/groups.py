"""The command that shows what becomes of each parameter of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from optimzoo import calls
from optimzoo.cli.runs import CodeDir, ConfigPath, Overrides, Trusted, run_config
from optimzoo.console import out
from optimzoo.errors import ConfigError


def groups(
    config: ConfigPath,
    overrides: Overrides = None,
    trust: Trusted = None,
    code_dir: CodeDir = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODULE:FUNCTION", help="What makes the model, instead of the config's.")
    ] = None,
) -> None:
    """Build the model and the optimizer of CONFIG, and print the role, the group and the settings of each parameter."""
    from optimzoo.groups.table import parameter_table
    from optimzoo.wrappers.members import members

    with run_config(config, overrides, trust, code_dir) as cfg:
        if model is not None:
            cfg["model"] = {"type": model}
        made, wrapper = built(cfg)
        out.print(parameter_table(members(wrapper), made))


def built(cfg: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the model of a config, and its optimizer wrapper."""
    from torch import nn

    from optimzoo.build import build_optim_wrapper
    from optimzoo.run.objects import read_object

    for key in (key for key in ("model", "optim_wrapper") if key not in cfg):
        raise ConfigError("it is missing", key)
    model = calls.made(read_object(cfg["model"], nn.Module, "model"))
    return model, build_optim_wrapper(model, cfg["optim_wrapper"])
