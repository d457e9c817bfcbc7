"""What a user installs works outside the checkout, and so does a plugin that is a distribution of its own."""

import subprocess
import sys
import tomllib

import pytest

from tests.conftest import REPO
from tests.install import pip_install

PLUGIN = REPO / "examples" / "optimzoo-example-plugin"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel that `python -m build` makes of the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPO)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_works_outside_the_checkout(wheel, run, tmp_path):
    target = tmp_path / "site"
    pip_install(wheel, target)
    code = "import optimzoo, optimzoo_plugins.lion; print(optimzoo.__file__); print(len(optimzoo.OPTIMIZERS))"
    where, count = run("-c", code, path=[target]).stdout.split()
    assert where == str(target / "optimzoo" / "__init__.py")
    assert int(count) > 60
    assert (target / "optimzoo" / "py.typed").exists()
    assert (target / "optimzoo" / "__init__.pyi").exists()
    listed = run("-m", "optimzoo", "plugins", "--json", path=[target]).stdout
    assert '"status": "broken"' not in listed
    assert (target / "bin" / "optimzoo").exists()


CODE = """
import torch
from optimzoo import build_optim_wrapper
torch.manual_seed(0)
model = torch.nn.ModuleDict({"body": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 1)})
wrapper = build_optim_wrapper(model, dict(
    optimizer=dict(type="SignDescent", lr=1e-3),
    constructor="HeadOptimWrapperConstructor",
    paramwise_cfg=dict(head_lr_mult=10.0),
))
loss = lambda: model["head"](model["body"](torch.ones(1, 2))).square().sum()
first = loss().item()
for _ in range(20):
    wrapper.update_params(loss())
print({n: g["lr"] for g in wrapper.optimizer.param_groups for n in g["param_names"]})
print(loss().item() < first)
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The example plugin, installed into an empty folder."""
    target = tmp_path_factory.mktemp("site")
    pip_install(PLUGIN, target)
    return target


def test_the_example_plugin_is_found_by_name_and_trains(plugin, run):
    lrs, lowered = run("-c", CODE, path=[plugin]).stdout.splitlines()[-2:]
    assert lrs == "{'body.weight': 0.001, 'body.bias': 0.001, 'head.weight': 0.01, 'head.bias': 0.01}"
    assert lowered == "True"


def test_its_names_are_listed_without_importing_torch(plugin, run):
    code = "import sys; from optimzoo import OPTIMIZERS; print('SignDescent' in OPTIMIZERS, 'torch' in sys.modules)"
    assert run("-c", code, path=[plugin]).stdout == "True False\n"


def test_removed_its_names_raise_an_error_that_says_so(run):
    done = run("-c", CODE, check=False)
    assert done.returncode == 1
    assert "there is no constructor 'HeadOptimWrapperConstructor': no installed plugin registers it" in done.stderr
    assert "there is no optimizer 'SignDescent': no installed plugin registers it" in done.stderr


def test_what_the_classifiers_promise_is_what_pip_is_told():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    oldest = project["requires-python"].removeprefix(">=")
    named = [
        c.rpartition(" ")[2] for c in project["classifiers"] if c.startswith("Programming Language :: Python :: 3.")
    ]
    assert named[0] == oldest
    assert named == sorted(named, key=lambda version: int(version.partition(".")[2]))
