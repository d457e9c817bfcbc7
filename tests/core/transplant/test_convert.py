"""A saved state of one optimizer goes on in another: what means the same is carried, and the report is true."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from optimzoo import build_optim_wrapper
from optimzoo.errors import CheckpointError
from optimzoo.transplant import convert_state
from tests.conftest import REPO

ADAMW = dict(type="AdamW", lr=1e-2)
MUON = dict(type="Muon", lr=0.02, momentum=0.9, rest=ADAMW)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(50, 128), nn.Linear(128, 128), nn.ReLU(), nn.LayerNorm(128), nn.Linear(128, 50))


def train(model, step, begin, end):
    """Train on the batches from `begin` on, and return the losses."""
    losses = []
    for number in range(begin, end):
        x = torch.randint(50, (64,), generator=torch.Generator().manual_seed(number))
        loss = cross_entropy(model(x), (x * 7 + 3) % 50)
        step(loss)
        losses.append(loss.item())
    return losses


def converted(old, new, updates=20):
    """Train with one optimizer, and return the model, the new wrapper with its state loaded, and the report."""
    model = network()
    wrapper = build_optim_wrapper(model, dict(optimizer=old))
    train(model, wrapper.update_params, 0, updates)
    fresh = build_optim_wrapper(model, dict(optimizer=new))
    state, report = convert_state(fresh, model, wrapper.state_dict())
    fresh.load_state_dict(state)
    return model, wrapper, fresh, report


def test_what_is_kept_alike_is_kept_to_the_bit():
    model, old, new, report = converted(ADAMW, ADAMW)
    assert {each.outcome for each in report} == {"carried"}
    other = copy.deepcopy(model)
    again = build_optim_wrapper(other, dict(optimizer=ADAMW))
    again.load_state_dict(old.state_dict())
    assert train(model, new.update_params, 20, 25) == train(other, again.update_params, 20, 25)


def test_adamw_goes_on_as_muon_and_adamw():
    model, old, new, report = converted(ADAMW, MUON)
    outcomes = {each.name: (each.outcome, each.new) for each in report}
    assert outcomes["1.weight"] == ("converted", "Muon")
    assert {outcomes[name] for name in outcomes if name != "1.weight"} == {("carried", "AdamW")}
    weight = model[1].weight
    assert torch.equal(new.optimizer.state[weight]["momentum_buffer"], old.optimizer.state[weight]["exp_avg"])


def go_on_in_few_bits_and_back(few_bits):
    straight, _, adamw, _ = converted(ADAMW, ADAMW)
    went_on = train(straight, adamw.update_params, 20, 27)
    model, _, new, report = converted(ADAMW, dict(type=few_bits, lr=1e-2))
    assert {each.outcome for each in report} <= {"converted", "carried"}
    assert any("in few bits" in each.why for each in report)
    assert train(model, new.update_params, 20, 24) == pytest.approx(went_on[:4], rel=0.1)
    back = build_optim_wrapper(model, dict(optimizer=ADAMW))
    state, report = convert_state(back, model, new.state_dict())
    assert {each.outcome for each in report} <= {"converted", "carried"}
    back.load_state_dict(state)
    assert back.optimizer.state[model[1].weight]["step"] == 24
    forgotten = build_optim_wrapper(other := copy.deepcopy(model), dict(optimizer=ADAMW))
    kept = train(model, back.update_params, 24, 27)
    assert kept == pytest.approx(went_on[4:], rel=0.15)
    assert train(other, forgotten.update_params, 24, 27) != pytest.approx(kept, rel=0.3)


def test_adamw_goes_on_in_eight_bits_and_back_and_the_loss_does_not_jump():
    go_on_in_few_bits_and_back("AdamW8bit")


def test_so_does_torchaos_which_compiles_its_step(run):
    code = f"from {__name__} import *\ngo_on_in_few_bits_and_back('torchao.AdamW8bit')"
    run("-W", "ignore", "-c", code, path=[REPO], TORCHDYNAMO_DISABLE="1", OMP_NUM_THREADS="1")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (ADAMW, dict(type="Lion", lr=1e-3), "exp_avg of it means nothing that was kept"),
        (ADAMW, dict(ADAMW, amsgrad=True), "max_exp_avg_sq of it"),
        (ADAMW, dict(type="SGD", lr=0.1, momentum=0.9), "momentum_buffer of it"),
        (dict(type="SGD", lr=0.1, momentum=0.9), ADAMW, "exp_avg_sq of it"),
        (ADAMW, dict(type="SGD", lr=0.1), "it keeps nothing"),
        (ADAMW, dict(type="Sophia", lr=1e-3), "hessian of it means nothing that was kept"),
    ],
)
def test_what_means_something_else_begins_anew(old, new, why):
    _, _, wrapper, report = converted(old, new)
    assert {each.outcome for each in report} == {"fresh"}
    assert all(why in each.why for each in report)
    assert wrapper.state_dict()["state"] == {}


@pytest.mark.parametrize("new", [dict(type="Adagrad", lr=0.1), dict(type="SaRA", lr=1e-3)])
def test_what_is_kept_from_the_construction_on_begins_anew_too(new):
    model, _, wrapper, report = converted(ADAMW, new)
    assert {each.outcome for each in report} == {"fresh"}
    other = copy.deepcopy(model)
    again = build_optim_wrapper(other, dict(optimizer=new))
    assert wrapper.state_dict()["state"].keys() == again.state_dict()["state"].keys() != set()
    assert train(model, wrapper.update_params, 20, 23) == train(other, again.update_params, 20, 23)


def test_a_mean_over_another_number_of_updates_is_told():
    *_, report = converted(ADAMW, dict(ADAMW, betas=(0.95, 0.99)))
    assert {(each.outcome, each.why) for each in report} == {("converted", "betas 0.9 0.999, now 0.95 0.99")}


@pytest.mark.parametrize(
    "new",
    [
        dict(type="pytorch_optimizer.AdamP", lr=1e-3),  # counts in the group, from its first step on
        dict(type="Ranger", lr=1e-3, k=4),  # its k is no count
        dict(type="Prodigy", lr=1.0, d0=1e-4),
        dict(type="DAdaptAdam", lr=1.0),
        dict(type="ScheduleFreeAdamW", lr=1e-2),
        dict(type="AdamWScheduleFree", lr=1e-2),
        dict(type="Sophia", lr=1e-3),
        dict(type="torch_optimizer.RAdam", lr=1e-2),
    ],
    ids=lambda new: new["type"],
)
def test_what_is_of_a_whole_group_goes_on(new):
    """The next losses are those that the state has when it is loaded as it is."""
    model = network()
    old, own, converted = (build_optim_wrapper(model, dict(optimizer=new)) for _ in range(3))
    modes = callable(getattr(old.optimizer, "train", None))
    if modes:
        old.optimizer.train()
    train(model, old.update_params, 0, 12)
    own.load_state_dict(old.state_dict())
    state, report = convert_state(converted, model, old.state_dict())
    converted.load_state_dict(state)
    assert {each.outcome for each in report} == {"carried"}
    begun = copy.deepcopy(model.state_dict())
    losses = []
    for wrapper in (own, converted):
        model.load_state_dict(begun)
        if modes:
            wrapper.optimizer.train()
        torch.manual_seed(0)  # of Hutchinson's estimates
        losses.append(train(model, wrapper.update_params, 12, 16))
    assert losses[0] == losses[1]


@pytest.mark.parametrize(("old", "new"), [(ADAMW, "pytorch_optimizer.AdamP"), ("pytorch_optimizer.AdamP", ADAMW)])
def test_a_count_of_the_group_is_made_of_those_of_parameters_and_the_other_way_round(old, new):
    old, new = (dict(type=each, lr=1e-2) if isinstance(each, str) else each for each in (old, new))
    model, wrapper, fresh, report = converted(old, new, updates=7)
    assert {each.outcome for each in report} <= {"carried", "converted"}
    (group,) = fresh.optimizer.param_groups
    counts = [group["step"]] if new is not ADAMW else [entry["step"] for entry in fresh.optimizer.state.values()]
    assert {float(count) for count in counts} == {7.0}
    assert torch.equal(
        *(each.optimizer.state[model[1].weight]["exp_avg_sq"] for each in (wrapper, fresh)),
    )


def test_several_optimizers_go_on_as_parts_and_the_other_way_round():
    several = dict(
        matrix=dict(optimizer=dict(type="Muon", lr=0.02, momentum=0.9), modules=["1.weight"]),
        others=dict(optimizer=ADAMW, modules=["0.*", "1.bias", "3.*", "4.*"]),
    )
    model = network()
    members = build_optim_wrapper(model, several)
    train(model, members.update_params, 0, 5)
    parts = build_optim_wrapper(model, dict(optimizer=MUON))
    state, report = convert_state(parts, model, members.state_dict())
    assert {each.outcome for each in report} == {"carried"}
    parts.load_state_dict(state)
    again = build_optim_wrapper(model, several)
    state, report = convert_state(again, model, parts.state_dict())
    assert {each.outcome for each in report} == {"carried"}
    again.load_state_dict(state)
    for name in ("matrix", "others"):
        assert again[name].state_dict()["state"].keys() == members[name].state_dict()["state"].keys()


def test_the_state_of_plain_torch_has_the_order_of_the_model():
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    train(model, lambda loss: (optimizer.zero_grad(), loss.backward(), optimizer.step()), 0, 3)
    wrapper = build_optim_wrapper(
        model, dict(optimizer=dict(ADAMW, weight_decay=0.1), paramwise_cfg=dict(norm_decay_mult=0))
    )
    state, report = convert_state(wrapper, model, optimizer.state_dict())
    assert {each.outcome for each in report} == {"carried"}
    wrapper.load_state_dict(state)
    for parameter in model.parameters():
        assert torch.equal(wrapper.optimizer.state[parameter]["exp_avg"], optimizer.state[parameter]["exp_avg"])


def test_what_is_left_and_what_is_new_is_told():
    model, old, _, _ = converted(ADAMW, ADAMW)
    model[0].weight.requires_grad_(False)
    model.append(nn.Linear(50, 50))
    wrapper = build_optim_wrapper(model, dict(optimizer=ADAMW, paramwise_cfg=dict(norm_decay_mult=0)))
    _, report = convert_state(wrapper, model, old.state_dict())
    outcomes = {each.name: (each.outcome, each.why) for each in report}
    assert outcomes["5.weight"] == ("fresh", "nothing of it is there")
    assert outcomes["1.weight"][0] == "carried"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.update(optimizer="nowhere.Nothing"), "nowhere.Nothing, which has no name here"),
        (
            lambda state: [state["state"][i].pop("exp_avg") for i in state["state"]] and state.pop("optimizer"),
            "--from NAME",
        ),
        (
            lambda state: state["param_groups"][0].update(param_names=["x"] * 7),
            "is of no parameter that is trained here",
        ),
        (lambda state: state.pop("param_groups"), "is of no parameter|no optimizer state"),
    ],
)
def test_a_state_that_tells_too_little_is_an_error(change, told):
    model, old, new, _ = converted(ADAMW, ADAMW, updates=1)
    state = copy.deepcopy(old.state_dict())
    change(state)
    with pytest.raises(CheckpointError, match=told):
        convert_state(new, model, state)


def test_the_source_may_be_named():
    model = network()
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="Lion", lr=1e-3)))
    train(model, wrapper.update_params, 0, 2)
    state = wrapper.state_dict()
    del state["optimizer"]
    _, report = convert_state(wrapper, model, state, source="Lion")
    assert {each.outcome for each in report} == {"carried"}
