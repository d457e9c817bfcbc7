"""What an optimizer's class keeps in ways of its own: beside groups and states, under any name, in any shape."""

import copy

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, build_optim_wrapper
from optimzoo.errors import CheckpointError, OptimzooError
from optimzoo.optimizers.parts import Parts


class Own(torch.optim.Optimizer):
    """Counts its updates in entries of its own, one of which has a name that wrappers use too."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})
        self.k = self.counted = 0

    def state_dict(self):
        return {**super().state_dict(), "k": self.k, "counts": self.counted}

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.k, self.counted = state_dict["k"], state_dict["counts"]

    @torch.no_grad()
    def step(self, closure=None):
        self.k += 1
        self.counted += 2
        for p in (p for group in self.param_groups for p in group["params"]):
            norms = self.state[p].setdefault("norms", torch.zeros(7))  # as long as no parameter
            norms.copy_(norms.roll(1))
            norms[0] = p.grad.norm()
            p.sub_(p.grad * self.param_groups[0]["lr"] / (self.k + self.counted + norms.mean()))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def train(model, wrapper, updates=3):
    for _ in range(updates):
        wrapper.update_params(model(torch.ones(2, 3)).square().sum())


def of_a_part(model):
    own, rest = Own(model[0].parameters()), torch.optim.SGD(model[2].parameters(), lr=0.1)
    return OptimWrapper(Parts({"own": own, "rest": rest}))


def by_name(name, **settings):
    return lambda model: build_optim_wrapper(model, dict(optimizer=dict(type=name, lr=0.01, **settings)))


LOW_RANK = dict(rules=[dict(role="matrix", rank=2, update_proj_gap=50, scale=1.0, proj_type="std")])


@pytest.mark.parametrize(
    "build",
    [
        lambda model: OptimWrapper(Own(model.parameters())),
        of_a_part,
        by_name("StableSPAM", t_max=20),
        by_name("SPAM", update_proj_gap=8, warmup_epoch=10),
        by_name("Ranger21", num_iterations=100),
    ],
)
def test_it_goes_on_from_its_own_entries(build):
    model = network()
    wrapper = build(model)
    train(model, wrapper, 12)
    twin, state = copy.deepcopy(model), copy.deepcopy(wrapper.state_dict())
    resumed = build(twin)
    resumed.load_state_dict(state)
    for each in ((model, wrapper), (twin, resumed)):
        train(*each, 5)
    assert all(map(torch.equal, model.parameters(), twin.parameters()))


@pytest.mark.filterwarnings("ignore:AdamW. groups with a rank", "ignore::FutureWarning")
def test_states_of_low_rank_are_those_of_the_parameters_still():
    def build(model):
        cfg = dict(optimizer=dict(type="GaLoreAdamW", lr=0.01), paramwise_cfg=LOW_RANK)
        return build_optim_wrapper(model, cfg)

    model = network()
    wrapper = build(model)
    train(model, wrapper)
    twin = copy.deepcopy(model)
    resumed = build(twin)
    resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
    for each in ((model, wrapper), (twin, resumed)):
        train(*each)
    assert all(map(torch.equal, model.parameters(), twin.parameters()))


def test_states_of_parameters_of_other_shapes_are_refused_still():
    saved = {}
    for size in (3, 5):
        model = nn.Linear(size, 1, bias=False)
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="Lion", lr=0.1)))
        wrapper.update_params(model(torch.ones(1, size)).sum())
        saved[size] = wrapper.state_dict()
    with pytest.raises(CheckpointError, match=r"weight \(1, 5\) \(saved \(1, 3\)\)"):
        wrapper.load_state_dict(saved[3])


class Inside(torch.optim.SGD):
    def state_dict(self):
        return {"base": super().state_dict()}


def test_a_state_that_nothing_could_resume_from_is_not_saved():
    wrapper = OptimWrapper(Inside(network().parameters(), lr=0.1))
    with pytest.raises(OptimzooError, match="Inside saves 'base', and no 'state' and 'param_groups'"):
        wrapper.state_dict()


@pytest.mark.parametrize(("key", "value"), [("shapes", 3), ("shapes", [[1]]), ("own", [])])
def test_a_damaged_entry_is_named(key, value):
    wrapper = OptimWrapper(Own(network().parameters()))
    with pytest.raises(CheckpointError, match=f"^{key}: "):
        wrapper.load_state_dict({**wrapper.state_dict(), key: value})


@pytest.mark.parametrize("saved", [None, [1], {"state": {}}])
def test_a_state_that_nothing_could_load_is_not_saved(saved):
    class Saves(torch.optim.SGD):
        def state_dict(self):
            return saved

    with pytest.raises(CheckpointError, match="Saves saves .*, and no 'state' and 'param_groups'"):
        OptimWrapper(Saves(nn.Linear(1, 1).parameters(), lr=0.1)).state_dict()
