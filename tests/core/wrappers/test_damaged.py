"""A damaged state is a CheckpointError that says where, and changes nothing; one of another class is refused."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn

from optimzoo import AmpOptimWrapper, OptimWrapper
from optimzoo.errors import CheckpointError

TORCHS = [
    *("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon", "NAdam", "RAdam", "RMSprop"),
    *("Rprop", "SGD"),
]
KEPT = {"SGD": dict(momentum=0.9), "RMSprop": dict(momentum=0.9, centered=True), "Adam": dict(amsgrad=True)}
NEW_IN_TORCH = ("maximize", "foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay")


def trained(name, **kwargs):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    optimizer = getattr(torch.optim, name)(model.parameters(), **kwargs)
    for _ in range(2):
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
    return optimizer


def plain(name, **kwargs):
    return copy.deepcopy(trained(name, **kwargs).state_dict())


def assert_refused(wrapper, state, match=None):
    before = repr(copy.deepcopy(wrapper.state_dict()))
    with pytest.raises(CheckpointError, match=match):
        wrapper.load_state_dict(state)
    assert repr(wrapper.state_dict()) == before


def test_no_plain_state_of_torch_loads_into_another_class():
    states = {name: plain(name) for name in TORCHS}
    for saved, loaded in itertools.product(TORCHS, TORCHS):
        wrapper = OptimWrapper(trained(loaded))
        if saved == loaded:
            wrapper.load_state_dict(copy.deepcopy(states[saved]))
        else:
            assert_refused(wrapper, copy.deepcopy(states[saved]))


@pytest.mark.parametrize("name", TORCHS)
class TestEachOfTorch:
    def test_a_state_of_an_older_version_loads(self, name):
        state = plain(name)
        for group in state["param_groups"]:
            for key in NEW_IN_TORCH:
                group.pop(key, None)
        for entry in state["state"].values():  # before 1.12 a step was a number
            if "step" in entry:
                entry["step"] = float(entry["step"])
        optimizer = trained(name)
        optimizer.step()
        OptimWrapper(optimizer).load_state_dict(state)
        steps = [entry["step"] for entry in optimizer.state.values() if "step" in entry]
        assert all(float(step) == 2 for step in steps), "those of the state, not the three that it had made"
        optimizer.step()

    def test_each_thing_that_it_keeps_is_missed_and_each_of_another_kind_refused(self, name):
        kwargs = KEPT.get(name, {})
        wrapper = OptimWrapper(trained(name, **kwargs))
        saved = wrapper.state_dict()
        for key in saved["state"][0]:
            if name == "SGD" or (name == "Adafactor" and key != "step"):
                continue  # a buffer that is not there yet, and what the shape decides
            for damage in (None, "x", [1.0], {}):
                state = copy.deepcopy(saved)
                state["state"][0][key] = damage
                assert_refused(wrapper, state, f"^state: that of '.*' has .* as '{key}', which {name} keeps")
            del state["state"][0][key]
            if not state["state"][0]:
                continue  # as of a parameter that was never updated
            assert_refused(wrapper, state, f"^state: that of '.*' lacks '{key}', which {name} keeps")

    def test_each_setting_is_checked(self, name):
        wrapper = OptimWrapper(trained(name))
        for key in wrapper.optimizer.defaults.keys() - {*NEW_IN_TORCH}:
            for wrong in (math.nan, "x", (math.nan, 0.9), {"a": 1}):
                state = copy.deepcopy(wrapper.state_dict())
                state["param_groups"][0][key] = wrong
                assert_refused(wrapper, state, rf"^param_groups\[0\]\.{key}: ")
            del state["param_groups"][0][key]
            assert_refused(wrapper, state, rf"^param_groups\[0\]: it .*{key}")
        state["param_groups"][0] |= {key: wrapper.optimizer.defaults[key], "lr": -1.0}
        assert_refused(wrapper, state, r"^param_groups\[0\]\.lr: a number of at least 0 is wanted, got -1")


DAMAGES = {
    "state": [None, [], {"0": {}}, {0: None}, {0: [1]}, {0: {"step": math.nan}}],
    "param_groups": [
        None,
        {},
        [],
        [None],
        [{}],
        [{"params": None}],
        [{"params": [0, 0]}],
        [{"params": ["a"]}],
        [{"params": [-1]}],
    ],
    "dtypes": [None, 3, ["float32"], [1, 2]],
    "optimizer": [None, 3],
    "entries": [None, "many"],
    "base_param_settings": [3, [], {"lr": -1.0}, {"betas": (3.0, 0.9)}],
    "counts": [
        None,
        [],
        {},
        torch.zeros(2),
        {"inner_count": 1},
        *({"inner_count": i, "max_counts": 9} for i in (-5, None, 1.5, "1")),
        *({"inner_count": 5, "max_counts": 9, "accumulative_counts": 4, "window": i} for i in (-1, 4, None, "1")),
    ],
    "loss_scaler": [3, [1], {"scale": 1.0}],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in DAMAGES.items() for value in values])
def test_every_part_of_a_state_is_checked(key, value):
    wrapper = AmpOptimWrapper(dtype="float16", optimizer=trained("AdamW"))
    state = copy.deepcopy(wrapper.state_dict())
    state[key] = value
    assert_refused(wrapper, state)


@pytest.mark.parametrize(
    ("name", "path", "value", "said"),
    [
        ("SGD", ("state", 0, "momentum_buffer"), 1j, "has 1j as 'momentum_buffer'"),
        ("SGD", ("state", 0, "momentum_buffer"), torch.tensor(1.0), "as 'momentum_buffer'"),
        ("Adadelta", ("state", 0, "acc_delta"), torch.tensor(1.0), "as 'acc_delta'"),
        ("Adafactor", ("state", 0, "row_var"), torch.zeros(0), "of other shapes"),
        ("Adam", ("state", 0, "step"), math.nan, "has made nan steps"),
        ("Adam", ("state", 0), {}, "that of '.*'"),
        ("Adam", ("state", 0, "step"), torch.tensor(-1.0), "steps"),
        ("NAdam", ("param_groups", 0, "momentum_decay"), 10**400, r"momentum_decay: this whole number is too large"),
        ("ASGD", ("param_groups", 0, "t0"), object(), r"^param_groups\[0\]\.t0: a value such as 1000000.0 is wanted"),
        ("AdamW", ("param_groups", 0, None), 1, r"^param_groups\[0\]: a name for each setting is wanted"),
        ("AdamW", ("param_groups", 0, "param_names"), ["a"], r"param_names: a list of a name for each parameter"),
    ],
)
def test_what_a_kind_or_a_shape_gives_away(name, path, value, said):
    wrapper = OptimWrapper(trained(name, **KEPT.get(name, {})))
    state = copy.deepcopy(wrapper.state_dict())
    *above, key = path
    part = state
    for each in above:
        part = part[each]
    part[key] = value
    assert_refused(wrapper, state, said)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        *(("counts", "max_counts", value) for value in (-2, None, "x", 1.5)),
        *(("counts", key, value) for key in ("weight_unit", "weight_total") for value in ("x", -1.0, math.nan, [])),
        *(("loss_scaler", "scale", value) for value in (0.0, -1.0, math.inf, math.nan, None, "x")),
        *(("loss_scaler", "growth_interval", value) for value in (0, -1, None, 1.5)),
        *(("loss_scaler", "growth_factor", value) for value in (1.0, 0.5, math.nan, None)),
        *(("loss_scaler", "backoff_factor", value) for value in (0.0, 1.0, math.nan, None)),
        *(("loss_scaler", "_growth_tracker", value) for value in (-1, None, "x")),
    ],
)
def test_every_number_of_a_run_is_checked(part, key, value):
    wrapper = AmpOptimWrapper(dtype="float16", optimizer=trained("AdamW"))
    state = copy.deepcopy(wrapper.state_dict())
    state["counts"] |= {"weight_unit": 1.0, "weight_total": 0.0}
    wrapper.load_state_dict(copy.deepcopy(state))
    state[part][key] = value
    assert_refused(wrapper, state, key)


@pytest.mark.parametrize("wrong", [None, [], 3, "state", [("state", {})]])
def test_what_is_no_dict_at_all(wrong):
    for wrapper in (OptimWrapper(trained("SGD")), AmpOptimWrapper(optimizer=trained("SGD"))):
        assert_refused(wrapper, wrong, "a state, which is a dict, is wanted")
