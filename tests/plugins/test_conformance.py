"""Every registered optimizer, with the real library, through the wrapper. A new one needs a row in LR, if that."""

import copy

import pytest
import torch
from torch import nn

from optimzoo import OPTIMIZERS, build_optim_wrapper
from optimzoo.names.entry import NEEDS

from .conformance import BROKEN_UPSTREAM, NAMES, PAGE, STEPS, WORKING, config, page

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
        if "closure" in needs:

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
    return task, build_optim_wrapper(task.model, dict(optimizer=config(name))), needs


pytestmark = pytest.mark.filterwarnings(
    "ignore:Paged optimizers are not supported on CPU:UserWarning", "ignore:LA(MB|RS)8bit. it has no trust ratio"
)


@pytest.mark.parametrize("name", WORKING)
def test_it_lowers_the_loss_of_a_small_regression(name):
    task, wrapper, needs = start(name)
    first = task.loss().item()
    for _ in range(STEPS):
        task.update(wrapper, needs)
    assert task.loss().item() < 0.9 * first


@pytest.mark.parametrize("name", BROKEN_UPSTREAM)
def test_what_upstream_cannot_do_fails_with_upstreams_error(name):
    task, wrapper, needs = start(name)
    with pytest.raises(RuntimeError, match=BROKEN_UPSTREAM[name]):
        task.update(wrapper, needs)


@pytest.mark.parametrize("name", WORKING)
def test_its_state_continues_a_run_after_saving_and_loading(name, tmp_path):
    task, wrapper, needs = start(name)
    for _ in range(3):
        task.update(wrapper, needs)
    torch.save(wrapper.state_dict(), tmp_path / "state.pt")
    twin = copy.deepcopy(task)
    resumed = build_optim_wrapper(twin.model, dict(optimizer=config(name)))
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for each, updated in ((task, wrapper), (twin, resumed)):
        torch.manual_seed(1)
        for _ in range(3):
            each.update(updated, needs)
    for mine, theirs in zip(task.model.parameters(), twin.model.parameters()):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("name", [name for name in WORKING if name not in NOT_IN_BFLOAT16])
def test_in_bfloat16_its_state_comes_back_to_the_bit(name, tmp_path):
    task, wrapper, needs = start(name, torch.bfloat16)
    for _ in range(3):
        task.update(wrapper, needs)
    torch.save(wrapper.state_dict(), tmp_path / "state.pt")
    twin = copy.deepcopy(task)
    resumed = build_optim_wrapper(twin.model, dict(optimizer=config(name)))
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


@pytest.mark.parametrize("name", NAMES)
def test_its_parameters_keep_their_names(name):
    task, wrapper, _ = start(name)
    names = [n for group in wrapper.optimizer.param_groups for n in group["param_names"]]
    assert names == [n for n, _ in task.model.named_parameters()]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_described(name):
    entry = OPTIMIZERS.entry(name)
    assert entry.about
    assert set(entry.needs) <= set(NEEDS)
    assert entry.paper == "" or entry.paper.startswith("https://")


def test_every_library_that_the_readme_promises_is_here():
    plugins = {OPTIMIZERS.entry(name).plugin for name in NAMES}
    expected = {"torch", "dadaptation", "lion", "bitsandbytes", "transformers", "sophia", "sophia_optimizer"}
    assert plugins == expected


def test_the_table_in_the_documentation_is_up_to_date():
    assert PAGE.read_text() == page(), "run: python -m tests.plugins.conformance"
