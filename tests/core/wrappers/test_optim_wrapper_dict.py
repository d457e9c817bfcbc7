import contextlib
import copy
import pickle

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, OptimWrapperDict, StepOutcome, build_optim_wrapper
from optimzoo.errors import CheckpointError, ConfigError, NonFiniteError, OptimzooError


def wrapper(lr, groups=1, **kwargs):
    params = [{"params": [nn.Parameter(torch.ones(1))], "param_names": [f"p{i}"]} for i in range(groups)]
    return OptimWrapper(torch.optim.SGD(params, lr=lr, momentum=0.9), **kwargs)


@pytest.fixture
def pair():
    return OptimWrapperDict(generator=wrapper(0.1), discriminator=wrapper(0.4, groups=2))


def test_it_is_read_as_a_dict(pair):
    assert list(pair) == list(pair.keys()) == ["generator", "discriminator"]
    assert len(pair) == 2
    assert "generator" in pair
    assert "extractor" not in pair
    assert dict(pair.items())["generator"] is pair["generator"] is next(iter(pair.values()))
    with pytest.raises(KeyError, match="there are 'generator', 'discriminator'"):
        pair["extractor"]


def test_hyperparameters_come_under_the_members_names(pair):
    assert pair.get_lr() == {"generator.lr": [0.1], "discriminator.base_lr": [0.4], "discriminator.lr": [0.4, 0.4]}
    assert pair.get_momentum() == {"generator.momentum": [0.9], "discriminator.momentum": [0.9, 0.9]}
    assert {name: len(groups) for name, groups in pair.param_groups.items()} == {"generator": 1, "discriminator": 3}


def test_what_belongs_to_one_member_is_an_error_that_names_them(pair):
    for method in ("backward", "step", "optimizer"):
        with pytest.raises(OptimzooError, match=rf"'generator', 'discriminator': write .*\['generator'\]\.{method}"):
            getattr(pair, method)
    assert not hasattr(pair, "train_cfg")


def test_gradients_are_cleared_everywhere(pair):
    params = [group["params"][0] for each in pair.values() for group in each.optimizer.param_groups]
    for parameter in params:
        parameter.grad = torch.ones(1)
    pair.zero_grad()
    assert [p.grad for p in params] == [None, None, None]


@pytest.mark.parametrize(("counts", "times"), [((3, 3), 2), ((3, 1), 0)])
def test_a_forward_pass_that_serves_all_enters_the_context_of_each(counts, times):
    """Those that update at other times have losses of their own, whose gradients are exchanged."""
    entered = []

    class Distributed(nn.Module):
        def no_sync(self):
            entered.append(True)
            return torch.no_grad()

    pair = OptimWrapperDict(**{name: wrapper(1.0, accumulative_counts=n) for name, n in zip("ab", counts)})
    with pair.optim_context(Distributed()):
        assert torch.is_grad_enabled() is not bool(times)
    assert torch.is_grad_enabled()
    assert entered == [True] * times


def test_the_states_go_by_name(pair):
    for each in pair.values():
        for group in each.optimizer.param_groups:
            group["lr"] = 7.0
    state = pair.state_dict()
    assert list(state) == ["generator", "discriminator"]
    fresh = OptimWrapperDict(generator=wrapper(0.1), discriminator=wrapper(0.4, groups=2))
    fresh.load_state_dict(state)
    assert fresh.get_lr()["discriminator.lr"] == [7.0, 7.0]
    with pytest.raises(
        CheckpointError, match="the states of 'generator', and the optimizer wrappers are 'generator', "
    ):
        fresh.load_state_dict({"generator": state["generator"]})


def test_it_says_which_member_holds_a_parameter():
    pair = OptimWrapperDict(a=wrapper(0.5), b=wrapper(0.1, groups=2))
    assert pair.explain("p0").startswith("a, group 0 (lr 0.5, weight_decay 0)")
    assert pair.explain("p1").startswith("b, group 1 (lr 0.1")
    with pytest.raises(ConfigError, match="no parameter group holds 'pp1'.*Did you mean 'p1'"):
        pair.explain("pp1")


def test_it_can_be_copied_pickled_and_printed(pair):
    assert copy.deepcopy(pair).get_lr() == pickle.loads(pickle.dumps(pair)).get_lr() == pair.get_lr()
    assert repr(pair).startswith("name: generator\nType: OptimWrapper\n")


def test_a_member_that_is_no_wrapper_is_refused():
    with pytest.raises(ConfigError, match="^generator: an optimizer wrapper is wanted"):
        OptimWrapperDict(generator=torch.optim.SGD([nn.Parameter(torch.ones(1))]))


class TestOneLossForAll:
    X = torch.randn(9, 8, 4, generator=torch.Generator().manual_seed(0))

    def pair(self, wrapper=None, others=None):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 1))
        cfg = dict(
            matrices=dict(optimizer=dict(type="SGD", lr=0.1), modules=["0.weight", "2.weight"], **(wrapper or {})),
            others=dict(optimizer=dict(type="AdamW", lr=0.01), modules=["1", "*.bias"], **(others or wrapper or {})),
        )
        return model, build_optim_wrapper(model, cfg)

    def by_hand(self, counts, clip=None, scaler=None):
        model, _ = self.pair()
        others = [p for p in model.parameters() if p.ndim == 1]
        matrices = [p for p in model.parameters() if p.ndim == 2]
        optimizers = [torch.optim.SGD(matrices, lr=0.1), torch.optim.AdamW(others, lr=0.01)]
        for start in range(0, len(self.X), counts):
            window = self.X[start : start + counts]
            for x in window:
                loss = model(x).square().mean() / len(window)
                (scaler.scale(loss) if scaler else loss).backward()
            for optimizer, params in zip(optimizers, (matrices, others)):
                if scaler:
                    scaler.unscale_(optimizer)
                if clip:
                    nn.utils.clip_grad_norm_(params, clip)
                scaler.step(optimizer) if scaler else optimizer.step()
                optimizer.zero_grad()
            if scaler:
                scaler.update()
        return model

    @pytest.mark.parametrize("counts", [1, 2, 4])
    @pytest.mark.parametrize("clip", [None, 0.1])
    @pytest.mark.parametrize("scale", [None, "dynamic"])
    @pytest.mark.parametrize("told", ["each", "all"])
    def test_it_equals_the_loop_by_hand_the_remainder_included(self, counts, clip, scale, told):
        amp = dict(type="AmpOptimWrapper", dtype="float16", loss_scale=dict(growth_interval=2)) if scale else {}
        clip_grad = dict(max_norm=clip) if clip else None
        model, wrappers = self.pair(dict(accumulative_counts=counts, clip_grad=clip_grad, **amp))
        for told_of in [wrappers] if told == "all" else wrappers.values():
            told_of.initialize_count_status(model, 0, len(self.X))
        outcomes = [wrappers.update_params(model(x).square().mean()) for x in self.X]
        scaler = torch.amp.GradScaler("cpu", growth_interval=2) if scale else None
        for mine, theirs in zip(model.parameters(), self.by_hand(counts, clip, scaler).parameters()):
            assert torch.allclose(mine, theirs, rtol=0, atol=1e-7)
        if scaler:
            assert {m.loss_scaler.get_scale() for m in wrappers.values()} == {scaler.get_scale()}
        for number, outcome in enumerate(outcomes, 1):
            done = StepOutcome.UPDATED if number % counts == 0 or number == 9 else StepOutcome.ACCUMULATING
            assert outcome == {"matrices": done, "others": done}

    def test_a_length_told_to_the_container_is_not_that_of_a_members_own_losses(self):
        model, wrappers = self.pair(dict(accumulative_counts=2))
        wrappers.initialize_count_status(model, 0, 3)
        outcomes = [wrappers["others"].update_params(model(x).square().mean()) for x in self.X[:4]]
        assert outcomes == [StepOutcome.ACCUMULATING, StepOutcome.UPDATED] * 2

    def test_an_overflow_of_one_member_skips_its_update_alone_and_lowers_the_scale_of_all(self):
        model, wrappers = self.pair(dict(type="AmpOptimWrapper", dtype="float16", loss_scale=dict(init_scale=64.0)))
        model[2].weight.register_hook(lambda grad: grad * torch.inf)
        before = model[0].weight.detach().clone()
        outcomes = wrappers.update_params(model(self.X[0]).square().mean())
        assert outcomes == {"matrices": StepOutcome.SKIPPED, "others": StepOutcome.UPDATED}
        assert torch.equal(before, model[0].weight)
        assert {m.loss_scaler.get_scale() for m in wrappers.values()} == {32.0}

    def test_weights_serve_all(self):
        (model, wrappers), (twin, joined) = (self.pair(dict(accumulative_counts=n)) for n in (2, 1))
        for part in self.X[0][:6], self.X[0][6:]:
            wrappers.update_params(model(part).square().mean(), weight=len(part))
        joined.update_params(twin(self.X[0]).square().mean())
        for mine, theirs in zip(model.parameters(), twin.parameters()):
            assert torch.allclose(mine, theirs, rtol=0, atol=1e-6)

    @pytest.mark.parametrize(
        ("one", "other", "said"),
        [
            (dict(accumulative_counts=2), dict(accumulative_counts=3), "accumulate different iterations"),
            (dict(type="AmpOptimWrapper", dtype="float16"), dict(accumulative_counts=1), "scale it differently"),
            (
                dict(type="AmpOptimWrapper", dtype="float16"),
                dict(type="AmpOptimWrapper", dtype="float16", loss_scale=8.0),
                "scale it differently",
            ),
        ],
    )
    def test_members_that_cannot_share_one_are_refused(self, one, other, said):
        model, wrappers = self.pair(one, other)
        with pytest.raises(
            OptimzooError, match=f"the optimizers matrices, others cannot share a loss, for they {said}"
        ):
            wrappers.update_params(model(self.X[0]).square().mean())
        assert all(p.grad is None for p in model.parameters())

    def test_a_loss_that_is_none_leaves_everything_as_it_was(self):
        model, wrappers = self.pair()
        with pytest.raises(OptimzooError, match="a tensor that the model computed"):
            wrappers.update_params(None)
        assert [m.inner_count for m in wrappers.values()] == [0, 0]
        assert set(wrappers.update_params(model(self.X[0]).mean()).values()) == {StepOutcome.UPDATED}


def test_a_state_that_one_member_refuses_changes_none(pair):
    state = copy.deepcopy(pair.state_dict())
    state["generator"]["param_groups"][0]["lr"] = 7.0
    state["discriminator"]["optimizer"] = "torch.Adam"
    with pytest.raises(CheckpointError, match="^discriminator: it is of another optimizer than SGD: of torch.Adam"):
        pair.load_state_dict(state)
    assert pair["generator"].get_lr() == {"lr": [0.1]}


def test_a_window_that_was_open_when_saved_takes_nothing_from_the_loss_of_another_member():
    def gan():
        torch.manual_seed(0)
        model = nn.ModuleDict(dict(g=nn.Linear(2, 2), d=nn.Linear(2, 1)))
        member = dict(optimizer=dict(type="SGD", lr=0.1), accumulative_counts=2)
        return model, build_optim_wrapper(model, dict(g=member, d=member))

    def train(model, wrappers, xs):
        for x in xs:
            wrappers["g"].update_params(-model["d"](model["g"](x)).mean())
            wrappers["d"].update_params(model["d"](model["g"](x).detach()).square().mean())

    xs = torch.randn(4, 8, 2)
    one, through = gan()
    train(one, through, xs)
    before, saved = gan()
    train(before, saved, xs[:3])
    after, resumed = gan()
    after.load_state_dict(before.state_dict())
    resumed.load_state_dict(saved.state_dict())
    for own, other in zip(after.parameters(), before.parameters()):
        own.grad = other.grad
    train(after, resumed, xs[3:])
    assert all(torch.equal(a, b) for a, b in zip(after.parameters(), one.parameters()))


@pytest.mark.parametrize("kind", [dict(), dict(type="AmpOptimWrapper", dtype="bfloat16"), dict(flatten=True)])
def test_a_member_whose_gradients_are_not_finite_ends_the_window_of_all(kind):
    model = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in "ab"})
    for layer in model.values():
        nn.init.ones_(layer.weight)
    members = {
        name: build_optim_wrapper(layer, dict(optimizer=dict(type="Lion", lr=0.01), nonfinite="raise", **kind))
        for name, layer in model.items()
    }
    wrapper = OptimWrapperDict(**members)
    for x in (1.0, torch.inf, 1.0):
        with pytest.raises(NonFiniteError) if x == torch.inf else contextlib.nullcontext():
            wrapper.update_params((model["a"](torch.full((1, 1), x)) + model["b"](torch.ones(1, 1))).sum())
    assert [layer.weight.item() for layer in model.values()] == pytest.approx([0.98, 0.98])
