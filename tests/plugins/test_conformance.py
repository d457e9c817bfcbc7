"""Every registered optimizer, with the real library, through the wrapper. A new one needs a row in LR, if that."""

import copy
import re

import pytest
import torch
from torch import nn

from optimzoo import OPTIMIZERS, build_optim_wrapper
from optimzoo.errors import ConfigError
from optimzoo.names.entry import NEEDS, REFUSED
from tests.conftest import REPO

from .conformance import (
    BEFORE,
    BROKEN_UPSTREAM,
    BY_RULES,
    COMPILED,
    HERE,
    MARKS,
    NAMES,
    NOT_RESUMED,
    REFUSED_HERE,
    RULES,
    STEPS,
    WORKING,
    config,
    page,
)

NOT_IN_BFLOAT16 = ("PytorchLARS",)  # asserts that gradients are float32


class Task:
    """A regression that every kind of optimizer can do: a table of numbers, matrices only, or a small network."""

    def __init__(self, needs):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(64, 64, generator=generator)
        self.y = torch.tanh(self.x @ torch.randn(64, 1, generator=generator) / 8)
        torch.manual_seed(0)
        if "sparse" in needs:
            self.model, self.x = nn.Embedding(64, 1, sparse=True), torch.arange(64)
        else:  # 64 x 64 weights, since bitsandbytes quantizes from 4096 elements on
            bias = "matrices" not in needs
            self.model = nn.Sequential(nn.Linear(64, 64, bias=bias), nn.Tanh(), nn.Linear(64, 1, bias=bias))

    def loss(self):
        return (self.model(self.x) - self.y).square().mean()

    def sampled_loss(self):
        prediction = self.model(self.x)
        return (prediction - (prediction.detach() + torch.randn_like(prediction))).square().mean() / 2, 64

    def update(self, wrapper, needs):
        if not {"closure", "two_passes"}.isdisjoint(needs):

            def closure():
                wrapper.zero_grad()
                loss = self.loss()
                loss.backward()
                return loss

            wrapper.step(closure=closure)
        else:
            wrapper.update_params(self.loss(), curvature=self.sampled_loss)


def start(name, dtype=torch.float32):
    needs = OPTIMIZERS.entry(name).needs
    task = Task(needs)
    task.model.to(dtype)
    task.x, task.y = (each.to(dtype) if each.is_floating_point() else each for each in (task.x, task.y))
    wrapper = build(task, name)
    if "modes" in needs:
        wrapper.optimizer.train()
    return task, wrapper, needs


def build(task, name):
    return build_optim_wrapper(task.model, dict(optimizer=config(name), **(RULES if name in BY_RULES else {})))


pytestmark = [
    pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU:UserWarning"),
    pytest.mark.filterwarnings("ignore:This overload of:UserWarning"),  # of torch_optimizer.Ranger's
    pytest.mark.filterwarnings("ignore:max_lr was not set:UserWarning"),  # of heavyball.AdamC
    pytest.mark.filterwarnings("ignore::optimzoo.errors.OptimzooWarning"),  # the notes of entries
]


@pytest.mark.parametrize("name", WORKING)
def test_it_lowers_the_loss_of_a_small_regression(name):
    task, wrapper, needs = start(name)
    first = task.loss().item()
    for _ in range(STEPS):
        task.update(wrapper, needs)
    assert task.loss().item() < 0.9 * first


@pytest.mark.parametrize("name", [name for name in BROKEN_UPSTREAM if name in HERE])
def test_what_upstream_cannot_do_fails_with_upstreams_error(name):
    def one_update():
        task, wrapper, needs = start(name)
        task.update(wrapper, needs)

    with pytest.raises((RuntimeError, AssertionError, ConfigError), match=BROKEN_UPSTREAM[name]):
        one_update()


@pytest.mark.parametrize("name", REFUSED_HERE)
def test_what_the_wrapper_cannot_drive_is_refused_with_the_reason(name):
    reason = next(NEEDS[need] for need in OPTIMIZERS.entry(name).needs if need in REFUSED)
    with pytest.raises(ConfigError, match=re.escape(reason)) as error:
        start(name)
    assert error.value.path == "optim_wrapper.optimizer.type"


def test_what_compiles_its_step_makes_steps_where_nothing_is_compiled(run):
    code = """
from tests.plugins.conformance import COMPILED
from tests.plugins.test_conformance import start
for name in COMPILED:
    task, wrapper, needs = start(name)
    first = task.loss().item()
    for _ in range(4):
        task.update(wrapper, needs)
    print(name, task.loss().item() != first)
"""
    done = run("-W", "ignore", "-c", code, path=[REPO], TORCHDYNAMO_DISABLE="1", OMP_NUM_THREADS="1")
    assert done.stdout.splitlines() == [f"{name} True" for name in COMPILED], done.stderr


@pytest.mark.parametrize("name", WORKING)
def test_its_state_continues_a_run_after_saving_and_loading(name, tmp_path):
    task, wrapper, needs = start(name)
    for _ in range(3):
        task.update(wrapper, needs)
    torch.save(wrapper.state_dict(), tmp_path / "state.pt")
    if name in NOT_RESUMED:
        with pytest.raises(Exception, match="weights_only"):
            torch.load(tmp_path / "state.pt", weights_only=True)
        return
    twin = copy.deepcopy(task)
    resumed = build(twin, name)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for each, updated in ((task, wrapper), (twin, resumed)):
        torch.manual_seed(1)
        for _ in range(3):
            each.update(updated, needs)
    pairs = zip(task.model.parameters(), twin.model.parameters())
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


@pytest.mark.parametrize(
    "name", [name for name in WORKING if OPTIMIZERS.entry(name).plugin in BEFORE and name not in NOT_IN_BFLOAT16]
)
def test_in_bfloat16_its_state_comes_back_to_the_bit(name, tmp_path):
    task, wrapper, needs = start(name, torch.bfloat16)
    for _ in range(3):
        task.update(wrapper, needs)
    torch.save(wrapper.state_dict(), tmp_path / "state.pt")
    twin = copy.deepcopy(task)
    resumed = build(twin, name)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for mine, theirs in zip(resumed.optimizer.state.values(), wrapper.optimizer.state.values()):
        for key in theirs.keys() if isinstance(theirs, dict) else ():
            if isinstance(theirs[key], torch.Tensor):
                assert mine[key].dtype == theirs[key].dtype, key
                assert torch.equal(mine[key], theirs[key]), key
    for each, updated in ((task, wrapper), (twin, resumed)):
        torch.manual_seed(1)
        for _ in range(3):
            each.update(updated, needs)
    for mine, theirs in zip(task.model.parameters(), twin.model.parameters()):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("name", [*WORKING, *COMPILED])
def test_its_parameters_keep_their_names(name):
    task, wrapper, _ = start(name)
    named = {n: p for g in wrapper.optimizer.param_groups for n, p in zip(g["param_names"], g["params"], strict=True)}
    assert named == dict(task.model.named_parameters())


@pytest.mark.parametrize("name", NAMES)
def test_it_is_described(name):
    entry = OPTIMIZERS.entry(name)
    assert entry.about
    assert set(entry.needs) <= set(NEEDS)
    assert entry.paper == "" or entry.paper.startswith("https://")


def test_there_are_at_least_three_hundred_names():
    assert len(NAMES) >= 300
    assert len(HERE) >= 300


@pytest.mark.parametrize("name", MARKS)
def test_the_tables_of_a_page_are_those_of_the_registry(name):
    assert (REPO / "docs" / name).read_text() == page(name), "run: python -m tests.plugins.conformance"
