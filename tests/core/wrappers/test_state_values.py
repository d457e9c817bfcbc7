"""A state comes back as it was saved, or nothing changes at all."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from optimzoo import OptimWrapper, StepOutcome, build_optim_wrapper
from optimzoo.errors import CheckpointError, OptimzooWarning

pytestmark = pytest.mark.filterwarnings("ignore:.* averages squared gradients in bfloat16")
HALVES = [torch.bfloat16, torch.float16]
PAIRED = ["Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "SGD", "ASGD", "Rprop", "Lion"]
PAIRED += ["bitsandbytes.Adam", "bitsandbytes.AdamW", "AdamW8bit", "DAdaptAdam", "DAdaptSGD"]


def network(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4)).to(dtype)


def build(model, type, **kwargs):  # noqa: A002
    return build_optim_wrapper(model, dict(optimizer=dict(type=type, **kwargs)))


def train(model, wrapper, updates=3):
    for seed in range(updates):
        x = torch.randn(8, 64, generator=torch.Generator().manual_seed(seed))
        wrapper.update_params(model(x.to(model[0].weight.dtype)).float().square().mean())


def assert_equal(mine, theirs):
    assert type(mine) is type(theirs)
    if isinstance(mine, torch.Tensor):
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine, theirs)
    elif isinstance(mine, dict):
        assert mine.keys() == theirs.keys()
        for key in mine:
            assert_equal(mine[key], theirs[key])
    elif isinstance(mine, (list, tuple)):
        for one, other in itertools.zip_longest(mine, theirs):
            assert_equal(one, other)
    else:
        assert mine == theirs


class Notes(torch.optim.SGD):
    """Keeps what torch's optimizers do not: words, integers, nested values, a tensor in the group."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        for group in self.param_groups:
            group["d"] = 1e-6

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            group["d"] = torch.as_tensor(group["d"], dtype=torch.float32) * 3
            for p in group["params"]:
                self.state[p].update(
                    expression="ab,b->a",
                    words=["left", "right"],
                    codes=torch.arange(p.numel(), dtype=torch.uint8).reshape(p.shape),
                    master=p.detach().float() / 3,
                    scale=torch.tensor(1 / 3),
                    blocks=[torch.tensor([1 / 3, 2 / 3]), None, {"deep": torch.tensor([1 / 7])}],
                )


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
class TestItComesBackToTheBit:
    @pytest.mark.parametrize(
        "cfg",
        [
            dict(type="Adafactor", lr=1e-2, scale_parameter=False, relative_step=False),
            dict(type="NAdam", eps=1e-3),
            dict(type="ASGD"),
            dict(type="RAdam", eps=1e-3),
            dict(type="AdamW", eps=1e-3, fused=False),
            dict(type=Notes),
        ],
        ids=lambda cfg: getattr(cfg["type"], "__name__", cfg["type"]),
    )
    def test_and_training_goes_on_as_it_would_have(self, cfg, dtype, tmp_path):
        model = network(dtype)
        wrapper = build(model, **cfg)
        train(model, wrapper)
        torch.save(wrapper.state_dict(), tmp_path / "state.pt")
        twin = copy.deepcopy(model)
        resumed = build(twin, **cfg)
        resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        for mine, theirs in zip(resumed.optimizer.state.values(), wrapper.optimizer.state.values()):
            assert_equal(mine, theirs)
        for mine, theirs in zip(resumed.param_groups, wrapper.param_groups):
            assert_equal(*({k: v for k, v in group.items() if k != "params"} for group in (mine, theirs)))
        train(model, wrapper)
        train(twin, resumed)
        for mine, theirs in zip(model.parameters(), twin.parameters()):
            assert torch.equal(mine, theirs)


def test_a_parameter_of_another_dtype_takes_its_state_along():
    model = network()
    wrapper = build(model, "AdamW", fused=False)
    train(model, wrapper)
    half = network(torch.bfloat16)
    resumed = build(half, "AdamW", fused=False)
    resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
    assert {state["exp_avg"].dtype for state in resumed.optimizer.state.values()} == {torch.bfloat16}
    train(half, resumed)


def test_a_state_that_does_not_tell_is_rounded_with_a_warning():
    model = network(torch.bfloat16)
    wrapper = build(model, "Adafactor", lr=1e-2, scale_parameter=False, relative_step=False)
    train(model, wrapper)
    with pytest.warns(OptimzooWarning, match="exp_avg_sq.* were rounded to the dtype of the parameters"):
        wrapper.load_state_dict(copy.deepcopy(wrapper.optimizer.state_dict()))


@pytest.fixture(scope="module")
def states():
    """The state of each, with the class that an optimizer wrapper's says, and without it as torch's."""
    found = {}
    for name in PAIRED:
        model = network()
        wrapper = build(model, name, lr=0.01)
        train(model, wrapper, 2)
        found[name] = wrapper
    return found


class TestAnotherOptimizers:
    @pytest.mark.parametrize("loaded", PAIRED)
    def test_it_is_refused_and_everything_stays(self, loaded, states):
        for saved in PAIRED:
            state = copy.deepcopy(states[saved].state_dict())
            model = network()
            wrapper = build(model, loaded, lr=0.01)
            train(model, wrapper, 1)
            before = copy.deepcopy(wrapper.state_dict())
            if saved == loaded:
                wrapper.load_state_dict(state)
                continue
            with pytest.raises(CheckpointError):
                wrapper.load_state_dict(state)
            assert_equal(wrapper.state_dict(), before)
            train(model, wrapper, 1)

    @pytest.mark.parametrize("loaded", PAIRED)
    def test_without_the_class_a_refusal_changes_nothing_either(self, loaded, states):
        refused = 0
        for saved in PAIRED:
            model = network()
            wrapper = build(model, loaded, lr=0.01)
            train(model, wrapper, 1)
            before = copy.deepcopy(wrapper.state_dict())
            try:
                wrapper.load_state_dict(copy.deepcopy(states[saved].optimizer.state_dict()))
            except CheckpointError:
                refused += 1
                assert_equal(wrapper.state_dict(), before)
                train(model, wrapper, 1)
        assert 4 <= refused < len(PAIRED)

    @pytest.mark.parametrize(("saved", "loaded"), [("Adam", "AdamW"), ("AdamW", "Adam")])
    def test_plain_ones_of_torch_do_not_turn_adam_and_adamw_into_each_other(self, saved, loaded, states):
        with pytest.raises(CheckpointError, match="decoupled_weight_decay is (True|False), and that of the optimizer"):
            build(network(), loaded).load_state_dict(copy.deepcopy(states[saved].optimizer.state_dict()))

    def test_a_class_of_a_script_is_itself_where_it_is_imported(self):
        model = network()
        wrapper = build(model, Notes)
        state = wrapper.state_dict()
        assert state["optimizer"] == "tests.Notes"
        wrapper.load_state_dict({**state, "optimizer": "__main__.Notes"})
        with pytest.raises(
            CheckpointError, match="of another optimizer than Notes: of somebody.Notes, and this is tests"
        ):
            wrapper.load_state_dict({**state, "optimizer": "somebody.Notes"})


@pytest.mark.parametrize("of", ["AdamW", "AdamW8bit"])
def test_a_state_in_32_bits_stays_so_in_an_8_bit_optimizer_and_that_is_told(of):
    model = network()
    saved = build(model, f"bitsandbytes.{of}")
    train(model, saved, 1)
    wrapper = build(model, "AdamW8bit")
    if of == "AdamW8bit":
        wrapper.load_state_dict(copy.deepcopy(saved.optimizer.state_dict()))
    else:
        with pytest.warns(OptimzooWarning, match="the state is of 32 bits, and stays so: AdamW8bit quantizes"):
            wrapper.load_state_dict(copy.deepcopy(saved.optimizer.state_dict()))
    train(model, wrapper, 1)
    kept = torch.uint8 if of == "AdamW8bit" else torch.float32
    assert wrapper.optimizer.state[model[0].weight]["state1"].dtype is kept


@pytest.mark.parametrize("kernel", [dict(fused=True), dict(fused=False, foreach=False), dict(fused=False)])
def test_a_plain_state_changes_neither_the_kernel_nor_what_a_loss_scale_does(kernel):
    model = network()
    plain = torch.optim.AdamW(model.parameters(), **kernel)
    train(model, OptimWrapper(plain), 1)
    cfg = dict(type="AmpOptimWrapper", dtype="float16", loss_scale=64.0, optimizer=dict(type="AdamW", fused=True))
    wrapper = build_optim_wrapper(model, cfg)
    wrapper.load_state_dict(copy.deepcopy(plain.state_dict()))
    assert wrapper.param_groups[0]["fused"] is True
    before = model[0].weight.detach().clone()
    assert wrapper.update_params(model(torch.ones(1, 64)).sum() * torch.inf) is StepOutcome.SKIPPED
    assert torch.equal(before, model[0].weight)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    scaler.scale(model(torch.ones(1, 64)).sum() * torch.inf).backward()
    scaler.step(wrapper.optimizer)
    assert torch.equal(before, model[0].weight)


class TestCopies:
    class Counts(torch.optim.SGD):
        def __init__(self, params, lr=0.1):
            super().__init__(params, lr)
            self.calls = 0
            self.first = self.param_groups[0]["params"][0]

        def step(self, closure=None):
            self.calls += 1
            super().step(closure)

    @staticmethod
    def halve(optimizer, args, kwargs):
        for group in optimizer.param_groups:
            group["lr"] /= 2

    def test_a_deep_copy_keeps_hooks_and_attributes(self):
        model = network()
        wrapper = OptimWrapper(self.Counts(model.named_parameters()))
        wrapper.optimizer.register_step_post_hook(self.halve)
        train(model, wrapper, 2)
        twin, copied = copy.deepcopy((model, wrapper))
        assert copied.optimizer.first is twin[0].weight
        for each, wrapped in ((model, wrapper), (twin, copied)):
            train(each, wrapped, 2)
        assert (copied.optimizer.calls, copied.get_lr()) == (4, wrapper.get_lr())
        assert copied.get_lr()["lr"][0] < 0.1 / 8
        for mine, theirs in zip(model.parameters(), twin.parameters()):
            assert torch.equal(mine, theirs)

    def test_a_pickle_does_too(self, tmp_path):
        model = network()
        wrapper = build(model, "SGD", lr=0.1, fused=False)
        wrapper.optimizer.register_step_post_hook(halve)
        train(model, wrapper, 1)
        torch.save((model, wrapper), tmp_path / "both.pt")
        twin, copied = torch.load(tmp_path / "both.pt", weights_only=False)
        for each, wrapped in ((model, wrapper), (twin, copied)):
            train(each, wrapped, 2)
        assert copied.get_lr() == {"lr": [0.1 / 8]}
        for mine, theirs in zip(model.parameters(), twin.parameters()):
            assert torch.equal(mine, theirs)

    def test_what_torchs_schedulers_put_over_the_step_stays_with_the_original(self):
        model = network()
        wrapper = build(model, "SGD", lr=0.1)
        torch.optim.lr_scheduler.StepLR(wrapper.optimizer, 1)
        twin, copied = copy.deepcopy((model, wrapper))
        before = copy.deepcopy(model.state_dict())
        train(twin, copied, 1)
        assert_equal(dict(model.state_dict()), dict(before))
        assert not torch.equal(twin[0].weight, model[0].weight)


halve = TestCopies.halve


def test_groups_that_a_run_has_added_are_added_before_its_state_is_loaded():
    model = network()
    model[2].requires_grad_(False)
    start = [("0.weight", model[0].weight), ("0.bias", model[0].bias)]
    wrapper = OptimWrapper(torch.optim.AdamW(start, lr=0.1))
    train(model, wrapper, 1)
    model[2].requires_grad_(True)
    added = {"params": [("2.weight", model[2].weight), ("2.bias", model[2].bias)], "lr": 0.01, "initial_lr": 0.02}
    wrapper.optimizer.add_param_group(added)
    train(model, wrapper, 1)
    twin = copy.deepcopy(model)
    resumed = OptimWrapper(torch.optim.AdamW([("0.weight", twin[0].weight), ("0.bias", twin[0].bias)], lr=0.1))
    state = copy.deepcopy(wrapper.state_dict())
    with pytest.raises(CheckpointError, match="has a state of '2.bias', '2.weight' that nothing here takes"):
        resumed.load_state_dict(state)
    resumed.add_saved_groups(twin, state)
    resumed.load_state_dict(state)
    assert resumed.get_lr() == {"lr": [0.1, 0.01]}
    assert resumed.optimizer.param_groups[1]["initial_lr"] == 0.02
    for each, wrapped in ((model, wrapper), (twin, resumed)):
        train(each, wrapped, 2)
    for mine, theirs in zip(model.parameters(), twin.parameters()):
        assert torch.equal(mine, theirs)


class Forwarding(nn.Module):
    """Holds a module as Fabric does."""

    def __init__(self, module):
        super().__init__()
        self._forward_module = module

    def forward(self, x):
        return self._forward_module(x)


@pytest.mark.parametrize(
    "wrap",
    [lambda m: torch.compile(m, backend="eager"), Forwarding, checkpoint_wrapper],
    ids=["compiled", "Fabric's", "checkpointed"],
)
@pytest.mark.parametrize("paramwise_cfg", [None, dict(bias_decay_mult=0.0)])
def test_names_are_those_of_the_plain_model(wrap, paramwise_cfg):
    model = network()
    wrapped = copy.deepcopy(model)
    wrapped[0] = wrap(wrapped[0])
    cfg = dict(optimizer=dict(type="AdamW", lr=0.1), paramwise_cfg=paramwise_cfg)
    plain, other = build_optim_wrapper(model, cfg), build_optim_wrapper(wrapped, cfg)
    names = [[n for g in w.optimizer.param_groups for n in g["param_names"]] for w in (plain, other)]
    assert names[0] == names[1]
    assert other.explain("0.weight") == plain.explain("0.weight")
    train(model, plain, 1)
    old = copy.deepcopy(plain.state_dict())
    for group in old["param_groups"]:  # as an earlier version, or another tool, saved them
        group["param_names"] = [n.replace("0.", "0._orig_mod.") for n in group["param_names"]]
    other.load_state_dict(old)
    assert_equal(other.state_dict()["state"], plain.state_dict()["state"])


@pytest.mark.parametrize("counts", [2, 3, 4])
@pytest.mark.parametrize("done", [1, 4, 5, 6, 9])
def test_a_loop_resumed_anywhere_in_a_run_goes_on_as_it_would_have(counts, done):
    def fresh():
        model = network()
        cfg = dict(optimizer=dict(type="SGD", lr=0.1), accumulative_counts=counts)
        return model, build_optim_wrapper(model, cfg)

    model, wrapper = fresh()
    wrapper.initialize_count_status(model, 0, 10)
    xs = torch.randn(10, 8, 64, generator=torch.Generator().manual_seed(1))
    for x in xs[:done]:
        wrapper.update_params(model(x).square().mean())
    twin, resumed = fresh()
    twin.load_state_dict(model.state_dict())
    for mine, theirs in zip(twin.parameters(), model.parameters()):
        mine.grad = None if theirs.grad is None else theirs.grad.clone()
    resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
    for x in xs[done:]:
        expected = wrapper.update_params(model(x).square().mean())
        assert resumed.update_params(twin(x).square().mean()) is expected
    assert expected is StepOutcome.UPDATED
    for mine, theirs in zip(model.parameters(), twin.parameters()):
        assert torch.equal(mine, theirs)
    assert resumed.update_count == wrapper.update_count == -(-10 // counts)


def test_the_state_of_a_finished_run_begins_another():
    model = network()
    cfg = dict(optimizer=dict(type="SGD", lr=0.1), accumulative_counts=4)
    wrapper = build_optim_wrapper(model, cfg)
    wrapper.initialize_count_status(model, 0, 10)
    train(model, wrapper, 10)
    resumed = build_optim_wrapper(model, cfg)
    resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
    x = torch.ones(1, 64)
    outcomes = [resumed.update_params(model(x).sum()) for _ in range(4)]
    assert outcomes[3] is StepOutcome.UPDATED
    assert resumed.update_count == 1
