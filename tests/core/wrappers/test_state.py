"""A wrapper's state goes by the names of the parameters."""

import copy
import pickle

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, build_optim_wrapper
from optimzoo.errors import CheckpointError, OptimzooError, OptimzooWarning

PLAIN = None
NO_DECAY = dict(bias_decay_mult=0.0, norm_decay_mult=0.0)
ONE_EACH = dict(norm_decay_mult=0.0, bias_decay_mult=0.0, merge_groups=False)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def build(model, paramwise_cfg=PLAIN, optimizer="AdamW", **kwargs):
    cfg = dict(type=optimizer, lr=0.1, weight_decay=0.5, **kwargs)
    return build_optim_wrapper(model, dict(optimizer=cfg, paramwise_cfg=paramwise_cfg))


def train(model, wrapper, updates=2):
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(updates):
        wrapper.update_params(model(x).square().mean())


def trained(paramwise_cfg=PLAIN, **kwargs):
    model = network()
    wrapper = build(model, paramwise_cfg, **kwargs)
    train(model, wrapper)
    return model, wrapper


def assert_same_course(model, wrapper, twin, resumed):
    train(model, wrapper)
    train(twin, resumed)
    for (name, mine), theirs in zip(model.named_parameters(), twin.parameters()):
        assert torch.equal(mine, theirs), name


class TestGrouping:
    @pytest.mark.parametrize("saved", [NO_DECAY, ONE_EACH], ids=["merged", "one each"])
    @pytest.mark.parametrize("loaded", [NO_DECAY, ONE_EACH], ids=["merged", "one each"])
    def test_it_may_change_and_the_run_goes_on_as_it_would_have(self, saved, loaded):
        model, wrapper = trained(saved, fused=False)
        for group in wrapper.param_groups:
            group["lr"] = 0.05  # as a schedule would
        twin = copy.deepcopy(model)
        resumed = build(twin, loaded, fused=False)
        resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
        assert set(resumed.get_lr()["lr"]) == {0.05}
        assert_same_course(model, wrapper, twin, resumed)

    def test_groups_that_disagree_leave_the_new_group_its_own_setting_with_a_warning(self):
        _, wrapper = trained(NO_DECAY)
        plain = build(network())
        with pytest.warns(OptimzooWarning, match=r"of group 0 \('0.weight', .* differ in weight_decay; .* its own"):
            plain.load_state_dict(copy.deepcopy(wrapper.state_dict()))
        assert plain.param_groups[0]["weight_decay"] == 0.5

    def test_what_chooses_the_kernel_is_the_loaders(self):
        _, wrapper = trained(fused=False, foreach=False)
        resumed = build(network())
        resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
        assert resumed.param_groups[0]["fused"] is True

    def test_frozen_parameters_may_come_and_go(self):
        _, wrapper = trained()
        state = wrapper.state_dict()
        fewer = network()
        fewer[0].requires_grad_(False)
        resumed = build(fewer, NO_DECAY)
        del state["state"][0], state["state"][1]  # they were frozen then, too
        resumed.load_state_dict(state)
        assert resumed.optimizer.state[fewer[2].weight]["exp_avg"].shape == (2, 4)


class TestWithoutNames:
    @pytest.mark.parametrize("paramwise_cfg", [PLAIN, NO_DECAY, ONE_EACH], ids=["plain", "merged", "one each"])
    def test_a_plain_optimizers_state_goes_by_the_order_of_the_model(self, paramwise_cfg):
        model = network()
        wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.25))
        train(model, wrapper)
        twin = copy.deepcopy(model)
        resumed = build(twin, paramwise_cfg, fused=False)
        resumed.load_state_dict(copy.deepcopy(wrapper.optimizer.state_dict()))
        assert_same_course(model, wrapper, twin, resumed)
        assert {g["weight_decay"] for g in resumed.optimizer.param_groups} == {0.25}

    def test_into_a_plain_optimizer(self):
        model, wrapper = trained(fused=False)
        twin = copy.deepcopy(model)
        resumed = OptimWrapper(torch.optim.AdamW(twin.parameters()))
        resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
        assert_same_course(model, wrapper, twin, resumed)

    @pytest.mark.parametrize("groups", [[[0, 2], [1, 3, 4, 5]], [[0], [1, 2, 3, 4, 5]]])
    def test_groups_that_tell_nothing_of_the_order_are_refused(self, groups):
        params = list(network().parameters())
        saved = torch.optim.AdamW([{"params": [params[index] for index in group]} for group in groups])
        for resumed in (build(network()), OptimWrapper(torch.optim.AdamW(network().parameters()))):
            with pytest.raises(CheckpointError, match="no parameter names, and groups of .* has 6.* cannot be told"):
                resumed.load_state_dict(saved.state_dict())

    def test_one_group_into_several_of_a_plain_optimizer_is_refused(self):
        saved = torch.optim.AdamW(network().parameters())
        params = list(network().parameters())
        resumed = OptimWrapper(torch.optim.AdamW([{"params": params[:2]}, {"params": params[2:]}]))
        with pytest.raises(CheckpointError, match=r"groups of 6 parameters where the optimizer has 2, 4, so that"):
            resumed.load_state_dict(saved.state_dict())


class TestBaseSettings:
    def test_they_are_those_of_the_one_group_that_was_saved(self):
        _, wrapper = trained()
        wrapper.param_groups[0]["lr"] = 0.01
        resumed = build(network(), NO_DECAY)
        resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
        assert resumed.get_lr() == {"base_lr": [0.01], "lr": [0.01, 0.01]}

    def test_they_go_with_the_groups_that_needed_them(self):
        _, wrapper = trained(ONE_EACH)
        resumed = build(network(), dict(bias_decay_mult=1.0))
        state = wrapper.state_dict()
        for group in state["param_groups"]:
            group["weight_decay"] = 0.5
        resumed.load_state_dict(state)
        assert resumed.get_lr() == {"lr": [0.1]}

    def test_where_none_were_saved_they_start_anew(self):
        _, wrapper = trained(NO_DECAY)
        resumed = build(network(), NO_DECAY)
        resumed.base_param_settings["lr"] = 9.0
        resumed.load_state_dict(copy.deepcopy(wrapper.optimizer.state_dict()))
        assert resumed.base_param_settings["lr"] == 0.1


class TestTensors:
    def test_a_learning_rate_that_is_a_tensor_stays_one_and_a_number_a_number(self):
        kwargs = dict(fused=False, foreach=False, capturable=False)
        number, tensor = build(network(), **kwargs), build(network(), **kwargs)
        tensor.param_groups[0]["lr"] = torch.tensor(0.5)
        state = tensor.state_dict()
        tensor.load_state_dict(number.state_dict())
        assert torch.equal(tensor.param_groups[0]["lr"], torch.tensor(0.1))
        number.load_state_dict(state)
        assert number.param_groups[0]["lr"] == 0.5
        assert isinstance(number.param_groups[0]["lr"], float)

    def test_the_given_state_is_left_as_it_is(self):
        _, wrapper = trained(NO_DECAY)
        state = copy.deepcopy(wrapper.state_dict())
        before = copy.deepcopy(state)
        resumed = build(network(), NO_DECAY)
        resumed.load_state_dict(state)
        for group in resumed.param_groups:
            group["lr"] = 7.0
            group["initial_lr"] = 7.0
        assert [g["lr"] for g in state["param_groups"]] == [g["lr"] for g in before["param_groups"]]
        assert state["param_groups"] == before["param_groups"]
        assert state["base_param_settings"].keys() == before["base_param_settings"].keys()
        assert state["base_param_settings"]["lr"] == before["base_param_settings"]["lr"]


class TestWhatDoesNotFit:
    @pytest.mark.parametrize("wrong", [{}, {"state": {}}, {"model": 1, "param_groups": []}])
    def test_what_is_no_state_at_all(self, wrong):
        with pytest.raises(CheckpointError, match="no optimizer state: there is no '(state|param_groups)' in it"):
            build(network()).load_state_dict(wrong)

    @pytest.mark.parametrize(
        ("saved", "loaded", "said"),
        [
            ("SGD", "AdamW", "it has 'momentum', .* but not 'betas', 'eps'"),
            ("AdamW", "SGD", ".*but not 'momentum', 'dampening'"),
            ("Lion", "AdamW", "it lacks 'eps', 'amsgrad'"),
        ],
    )
    def test_another_optimizers(self, saved, loaded, said):
        _, wrapper = trained(optimizer=saved)
        told = f"^it is of another optimizer than {loaded}: of .*{saved}, and this is torch.{loaded}$"
        with pytest.raises(CheckpointError, match=told):
            build(network(), optimizer=loaded).load_state_dict(copy.deepcopy(wrapper.state_dict()))
        bare = copy.deepcopy(wrapper.optimizer.state_dict())
        with pytest.raises(CheckpointError, match=f"another optimizer than {loaded}: {said}"):
            build(network(), optimizer=loaded).load_state_dict(bare)

    def test_other_parameters_are_named(self):
        _, wrapper = trained()
        other = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2))
        with pytest.raises(CheckpointError, match=r"it lacks '3.weight', '3.bias', and has a state of '2.bias', "):
            build(other).load_state_dict(copy.deepcopy(wrapper.state_dict()))
        with pytest.raises(CheckpointError, match="of other parameters: it lacks '3.weight', '3.bias'$"):
            build(other).load_state_dict(build(network()).state_dict())  # which has made no update

    def test_another_number_of_parameters_without_names(self):
        state = torch.optim.AdamW(nn.Linear(1, 1).parameters()).state_dict()
        with pytest.raises(CheckpointError, match=r"of 2 parameters without names, .* has 6: '0.weight', .*and 1 more"):
            build(network()).load_state_dict(state)

    @pytest.mark.parametrize("optimizer", ["AdamW", "Lion", "Adafactor", "torch.Adafactor"])
    def test_other_shapes_are_named(self, optimizer):
        other = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2))
        kwargs = dict(relative_step=False) if optimizer == "Adafactor" else {}
        wrapper = build(other, optimizer=optimizer, **kwargs)
        train(other, wrapper)
        with pytest.raises(CheckpointError, match=r"of other shapes: .*0\.bias \(4,\) \(saved \(5,\)\)"):
            build(network(), optimizer=optimizer, **kwargs).load_state_dict(copy.deepcopy(wrapper.state_dict()))


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s["state"][0].update(exp_avg=torch.zeros(3)),
        lambda s: s["state"][0].update(exp_avg_sq=torch.zeros(2, 1)),
        lambda s: s.update(state={str(number): entry for number, entry in s["state"].items()}),
    ],
)
def test_a_state_that_a_kernel_would_run_over_is_refused(damage):
    model = torch.nn.Linear(2, 2)
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="AdamW", lr=0.1)))
    wrapper.update_params(model(torch.ones(1, 2)).sum())
    state = copy.deepcopy(wrapper.state_dict())
    damage(state)
    with pytest.raises(CheckpointError):
        wrapper.load_state_dict(state)


def test_a_wrapper_whose_kernel_was_chosen_can_be_pickled():
    model = torch.nn.Linear(2, 2)
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="AdamW", lr=0.1)))
    other, copied = pickle.loads(pickle.dumps((model, wrapper)))
    for net, one in ((model, wrapper), (other, copied)):
        one.update_params(net(torch.ones(1, 2)).sum())
    assert torch.equal(model.weight, other.weight)


@pytest.mark.parametrize("weights", [(0, 8), (torch.tensor(0), torch.tensor(8))])
def test_a_window_that_begins_with_a_batch_of_no_weight_is_the_rest(weights):
    model = torch.nn.Linear(2, 1)
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1), accumulative_counts=2))
    before = model.weight.detach().clone()
    for weight in weights:
        wrapper.update_params(model(torch.ones(1, 2)).sum(), weight=weight)
    torch.testing.assert_close(model.weight, before - 0.1)


@pytest.mark.parametrize("weight", [torch.tensor(-2.0), torch.tensor(float("nan")), torch.tensor([1, 2])])
def test_a_tensor_that_is_no_weight_is_refused(weight):
    model = torch.nn.Linear(2, 1)
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1)))
    with pytest.raises(OptimzooError, match="weight"):
        wrapper.update_params(model(torch.ones(1, 2)).sum(), weight=weight)
