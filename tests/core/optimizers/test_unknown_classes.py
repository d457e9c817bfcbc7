"""Classes that no plugin names: what is plain to see is used, and `vet = true` measures the rest once."""

import copy
import importlib.util
import json
import sys

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper
from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning
from optimzoo.names.zoo import needs_of
from optimzoo.optimizers import heeded


class WithModes(torch.optim.SGD):
    def train(self):
        self.mode = "train"

    def eval(self):
        self.mode = "eval"


class WithClosure(torch.optim.SGD):
    def step(self, closure):
        return super().step(closure)


class HalfOfIt(torch.optim.SGD):
    def eval(self):
        return self


@pytest.mark.parametrize(
    ("cls", "needs"), [(WithModes, {"modes"}), (WithClosure, {"closure"}), (HalfOfIt, set()), (torch.optim.SGD, set())]
)
def test_what_the_methods_say_is_needed(cls, needs):
    assert needs_of(cls(nn.Linear(1, 1).parameters(), lr=0.1)) == needs


class Plain(torch.optim.SGD):
    def __init__(self, params, lr=0.1, **kwargs):
        super().__init__(params, lr, **kwargs)


class TestDeclared:
    """A config declares what an optimizer needs, where no plugin does."""

    def build(self, **changes):
        cfg = dict(type=Plain, lr=0.1, needs=["one_lr"]) | changes
        model = nn.Linear(1, 1)
        return build_optim_wrapper(model, dict(optimizer=cfg, paramwise_cfg=dict(bias_lr_mult=2.0)))

    def test_what_the_needs_ask_for_holds_at_the_build_and_in_the_step(self):
        with pytest.raises(ConfigError, match=r"Plain adapts one step size over all groups"):
            self.build()
        optimizer = self.build(needs=["modes", "whole"]).optimizer
        assert needs_of(optimizer) == {"modes", "whole"}
        assert needs_of(self.build(needs=[]).optimizer) == set()
        assert "declared_needs" not in str(optimizer.state_dict())

    def test_they_are_of_this_optimizer_alone_and_come_with_a_copy(self):
        wrapper = self.build(needs=["sparse"])
        assert needs_of(copy.deepcopy(wrapper).optimizer) == {"sparse"}
        assert needs_of(Plain(nn.Linear(1, 1).parameters())) == set()

    def test_a_part_may_declare_them_too(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        rest = dict(type=Plain, lr=0.1, needs=["whole"])
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="Muon", lr=0.1, rest=rest)))
        assert "whole" in needs_of(wrapper.optimizer)

    @pytest.mark.parametrize(
        ("needs", "path", "said"),
        [
            ("modes", "needs", "a list of needs is wanted"),
            (["mode"], "needs[0]", "or 'modes'?"),
            (["modes", "faulty"], "needs[1]", "is wanted, got 'faulty'"),
            ([3], "needs[0]", "is wanted, got 3"),
        ],
    )
    def test_what_is_none_is_an_error_with_its_place(self, needs, path, said):
        with pytest.raises(ConfigError) as caught:
            self.build(needs=needs)
        assert caught.value.path == f"optim_wrapper.optimizer.{path}"
        assert said in str(caught.value)


def test_a_required_closure_is_asked_for_by_name():
    model = nn.Linear(1, 1)
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type=WithClosure, lr=0.1)))
    with pytest.raises(OptimzooError, match="closure"):
        wrapper.update_params(model(torch.ones(1, 1)).sum())


WOBBLE = """
import torch
class Wobble(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.count = 0
    def step(self, closure=None):
        self.count += 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.count
        return super().step(closure)
"""
PROGRAM = """
import torch, warnings
from optimzoo import build_optimizer, build_param_scheduler
optimizer = build_optimizer(torch.nn.Linear(1, 1), dict(type="wobble:Wobble", vet=True))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    build_param_scheduler(optimizer, dict(type="LinearLR", end=5))
print(*(str(w.message) for w in caught))
"""


def test_vet_measures_a_class_once_and_what_it_finds_is_told(run, tmp_path):
    (tmp_path / "wobble.py").write_text(WOBBLE)
    cache = tmp_path / "cache"
    first = run("-c", PROGRAM, path=[tmp_path], XDG_CACHE_HOME=str(cache))
    told = "half the rate changes nothing, since it is never read (measured with torch"
    assert f"Wobble: a schedule of its learning rate does not do what it says: {told}" in first.stdout
    (file,) = cache.rglob("wobble.Wobble-*.json")
    kept = json.loads(file.read_text())
    assert kept["facts"]["lr.written"][:2] == ["fault", "written"]
    file.write_text(json.dumps(kept | {"facts": {}}))  # what is kept is what counts
    assert run("-c", PROGRAM, path=[tmp_path], XDG_CACHE_HOME=str(cache)).stdout.strip() == ""


def test_a_class_without_a_version_is_measured_anew_once_its_file_is_another(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "wobbly.py"
    places = []
    for source in (WOBBLE, WOBBLE, WOBBLE + "# mended"):
        file.write_text(source)
        spec = importlib.util.spec_from_file_location("wobbly", file)
        monkeypatch.setitem(sys.modules, "wobbly", module := importlib.util.module_from_spec(spec))
        spec.loader.exec_module(module)
        places.append(heeded._cache(module.Wobble))
    assert places[0] == places[1] != places[2]


def test_a_class_that_cannot_be_measured_is_an_error_with_its_place():
    class Local(torch.optim.SGD):
        pass

    with pytest.raises(ConfigError, match="optim_wrapper.optimizer.vet: `optimzoo vet .*Local` failed"):
        build_optim_wrapper(nn.Linear(1, 1), dict(optimizer=dict(type=Local, lr=0.1, vet=True)))


def test_a_class_that_cannot_be_driven_is_told_and_vet_is_true_or_false(run, tmp_path):
    fails = "    def step(self, closure=None):\n        raise RuntimeError('no luck')\n"
    (tmp_path / "stuck.py").write_text(f"import torch\n\n\nclass Stuck(torch.optim.SGD):\n{fails}")
    program = PROGRAM.replace("wobble:Wobble", "stuck:Stuck")
    built = run("-c", program, path=[tmp_path], XDG_CACHE_HOME=str(tmp_path))
    assert "OptimzooWarning: Stuck: vet measured nothing: no way to drive it was found" in built.stderr
    assert "no luck" in built.stderr
    with pytest.raises(ConfigError, match="optimizer.vet: true or false is wanted, got 'false'"):
        build_optim_wrapper(nn.Linear(1, 1), dict(optimizer=dict(type="SGD", lr=0.1, vet="false")))


class OneGroup(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        groups = list(params)
        super().__init__([p for group in groups for p in group["params"]], lr=lr)


class HasItsOwn(torch.optim.SGD):
    """Trains a scale of its own beside what it is given."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
        self.scale = nn.Parameter(torch.ones(1))
        self.add_param_group({"params": [self.scale], "lr": 1.0})


def test_rules_that_the_groups_of_a_class_lose_are_told(model):
    rules = dict(custom_keys={"bias": dict(lr_mult=2.0)})
    with pytest.warns(OptimzooWarning, match="OneGroup: of 2 parameter groups it keeps 1: what rules set .* is lost"):
        build_optim_wrapper(model, dict(optimizer=dict(type=OneGroup), paramwise_cfg=rules))


def test_parameters_that_an_optimizer_adds_itself_have_its_name(model):
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type=HasItsOwn)))
    assert wrapper.optimizer.param_groups[-1]["param_names"] == ["HasItsOwn 0"]
    wrapper.optimizer.scale.data.fill_(3)
    wrapper.load_state_dict(wrapper.state_dict())
