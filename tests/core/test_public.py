"""The public names: all that is registered is there, and type checkers understand it."""

import re

import mypy.api
import pytest

import optimzoo
from optimzoo.names.zoo import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, PARAM_SCHEDULERS
from tests.conftest import REPO

BUNDLED = {
    entry.name: registry
    for registry in (OPTIM_WRAPPERS, OPTIM_WRAPPER_CONSTRUCTORS, PARAM_SCHEDULERS)
    for entry in registry.entries()
    if entry.distribution == "optimzoo" and entry.plugin in ("optimzoo", "apex", "layer_decay")
}


@pytest.mark.parametrize("name", BUNDLED)
def test_every_wrapper_constructor_and_schedule_is_a_public_name(name):
    assert name in optimzoo.__all__
    assert getattr(optimzoo, name) is BUNDLED[name].get(name)


@pytest.mark.parametrize("name", optimzoo.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(optimzoo, name) is not None


@pytest.mark.parametrize("name", re.findall(r"`optimzoo\.(\w+)`", (REPO / "docs" / "mmengine.md").read_text()))
def test_the_new_names_of_the_table_for_mmengine_exist(name):
    assert name in ("X", "errors") or hasattr(optimzoo, name)


SNIPPET = """
import torch
from optimzoo import OPTIMIZERS, OptimWrapper, OptimWrapperDict, build_optim_wrapper

model = torch.nn.Linear(1, 1)
w = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1), clip_grad=dict(max_norm=1.0)))
w.grad_norm
w["generator"].update_params(torch.zeros(1))
checked: OptimWrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1)))
reveal_type(build_optim_wrapper(model, OptimWrapperDict(a=checked)))

@OPTIMIZERS.register_module()
class Mine(torch.optim.SGD):
    def own(self) -> int:
        return 1

reveal_type(Mine([torch.zeros(1)]).own())
reveal_type(OPTIMIZERS.register_module(module=Mine))
"""


def test_a_type_checker_knows_what_is_built_and_registered(tmp_path):
    file = tmp_path / "snippet.py"
    file.write_text(SNIPPET)
    arguments = ["--config-file", str(REPO / "pyproject.toml"), str(file)]
    said, errors, status = mypy.api.run(arguments)
    assert (errors, status) == ("", 0), said
    built, own, registered = re.findall(r'Revealed type is "(.*)"', said)
    assert built.endswith("OptimWrapperDict")
    assert own in ("int", "builtins.int")
    assert registered.endswith("-> snippet.Mine")
