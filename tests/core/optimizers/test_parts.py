"""Several optimizers in one: the same steps as by hand, one state, one list of groups."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from optimzoo import build_optim_wrapper, build_optimizer, build_param_scheduler
from optimzoo.errors import CheckpointError, ConfigError, OptimzooError

MUON = dict(type="Muon", lr=0.02, weight_decay=0.1, rest=dict(type="AdamW", lr=3e-4, weight_decay=0.1))
X = torch.randint(0, 10, (16, 4), generator=torch.Generator().manual_seed(0))
Y = X[:, 0] % 5


def net():
    torch.manual_seed(1)
    body = [nn.Embedding(10, 8), nn.Flatten(), nn.Linear(32, 16), nn.GELU(), nn.Linear(16, 16), nn.LayerNorm(16)]
    return nn.Sequential(*body, nn.Linear(16, 5))


def train(wrapper, model, updates):
    for _ in range(updates):
        with wrapper.optim_context(model):
            loss = cross_entropy(model(X), Y)
        wrapper.update_params(loss)
    return [p.detach().clone() for p in model.parameters()]


def built(optimizer=MUON, **cfg):
    model = net()
    return build_optim_wrapper(model, dict(optimizer=optimizer, **cfg)), model


def equal(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def parts(*several):
    return dict(type="Parts", parts=list(several))


def test_a_matrix_of_one_row_or_column_goes_to_the_rest():
    model = nn.Sequential(*(nn.Linear(*size, bias=False) for size in ((4, 4), (4, 1), (1, 4), (4, 4), (4, 2))))
    groups = build_optim_wrapper(model, dict(optimizer=MUON)).optimizer.param_groups
    assert [g["param_names"] for g in groups if g["part"] == "Muon"] == [["0.weight", "3.weight"]]
    with pytest.raises(
        ConfigError, match="'Muon' takes no .* roles: matrix, bias. It takes .* than one row and column$"
    ):
        build_optim_wrapper(nn.Linear(8, 1), dict(optimizer=MUON))


def test_the_steps_are_those_of_the_optimizers_by_hand_over_the_same_parameters():
    wrapper, model = built(clip_grad=dict(max_norm=1.0))
    hand = net()
    matrices = [hand[2].weight, hand[4].weight]
    rest = [p for p in hand.parameters() if not any(p is m for m in matrices)]
    muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1)
    adam = torch.optim.AdamW(rest, lr=3e-4, weight_decay=0.1, fused=True)
    for _ in range(20):
        cross_entropy(hand(X), Y).backward()
        nn.utils.clip_grad_norm_([*matrices, *rest], 1.0)
        for optimizer in (muon, adam):
            optimizer.step()
            optimizer.zero_grad()
    assert equal(train(wrapper, model, 20), hand.parameters())
    assert isinstance(wrapper.optimizer, torch.optim.Optimizer)
    assert [group["part"] for group in wrapper.optimizer.param_groups] == ["Muon", "rest"]
    assert wrapper.get_lr() == {"base_lr": [0.02], "lr": [0.02, 3e-4]}


CONFIGS = [
    dict(optimizer=MUON, paramwise_cfg=dict(norm_decay_mult=0.0, rules=[dict(part="rest", role="head", lr_mult=0.1)])),
    dict(optimizer=MUON, type="AmpOptimWrapper", dtype="float16", accumulative_counts=2),
    dict(optimizer=dict(MUON, rest=dict(type="RMSprop", lr=1e-3, centered=True))),
    dict(optimizer=dict(MUON, rest=dict(type="DAdaptAdam", lr=1.0))),  # which keeps an estimate in its groups
    dict(optimizer=dict(MUON, rest=dict(type="Lion", lr=1e-3))),
    dict(optimizer=dict(MUON, rest=dict(type="AdamWScheduleFree", lr=1e-3))),
    dict(
        optimizer=parts(
            dict(name="tables", where=["embedding", "position"], optimizer=dict(type="Adagrad", lr=0.01)),
            dict(name="large", where=dict(role="matrix", min_numel=300), optimizer=dict(type="Muon", lr=0.02)),
            dict(name="norms", where="norm", optimizer=dict(type="SGD", lr=0.1, momentum=0.9)),
            dict(name="named", where="6.*", optimizer=dict(type="Adam", lr=0.01)),
            dict(optimizer=dict(type="AdamW", lr=0.01)),
        )
    ),
]


@pytest.mark.filterwarnings("ignore::optimzoo.errors.OptimzooWarning")
@pytest.mark.parametrize("cfg", CONFIGS, ids=range(len(CONFIGS)))
def test_a_state_by_name_and_a_copy_go_on_to_the_bit(cfg, tmp_path):
    def ready():
        model = net()
        wrapper = build_optim_wrapper(model, cfg)
        wrapper.optimizer.train()
        return wrapper, model

    wrapper, model = ready()
    train(wrapper, model, 4)
    torch.save((wrapper.state_dict(), model.state_dict()), tmp_path / "state.pt")
    copies = [copy.deepcopy((wrapper, model)), pickle.loads(pickle.dumps((wrapper, model)))]
    wanted = train(wrapper, model, 4)
    again = ready()
    for part, state in zip(again, torch.load(tmp_path / "state.pt", weights_only=True)):
        part.load_state_dict(state)
    assert all(equal(train(*each, 4), wanted) for each in (*copies, again))


def test_the_state_may_be_of_other_groups_of_the_same_parts():
    wrapper, model = built()
    train(wrapper, model, 3)
    saved, weights = copy.deepcopy((wrapper.state_dict(), model.state_dict()))
    wanted = train(wrapper, model, 3)
    other, twin = built(paramwise_cfg=dict(merge_groups=False))
    twin.load_state_dict(weights)
    other.load_state_dict(saved)
    assert len(other.optimizer.param_groups) == len([*model.parameters()])
    assert equal(train(other, twin, 3), wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["state"][0].update(momentum_buffer="x"), r"has 'x' as 'momentum_buffer', which Muon keeps"),
        (lambda s: s["state"][3].pop("exp_avg"), r"lacks 'exp_avg', which AdamW keeps"),
        (lambda s: s["param_groups"][1].update(part="other"), r"groups of the parts Muon, rest is wanted"),
        (lambda s: s.update(optimizer="torch.AdamW"), r"of torch\.AdamW, and this is optimzoo\.Parts\(Muon="),
        (lambda s: s["param_groups"][0].update(lr="high"), r"param_groups\[0\]\.lr"),
    ],
)  # fmt: skip
def test_a_state_of_something_else_changes_nothing(change, message):
    wrapper, model = built()
    train(wrapper, model, 2)
    saved = copy.deepcopy(wrapper.state_dict())
    change(saved)
    before = copy.deepcopy(wrapper.state_dict())
    with pytest.raises(CheckpointError, match=message):
        wrapper.load_state_dict(saved)
    after = wrapper.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert all(equal(after["state"][n].values(), before["state"][n].values()) for n in before["state"])


def test_a_group_that_is_added_names_its_part_and_trains():
    wrapper, _ = built()
    optimizer, extra = wrapper.optimizer, nn.Parameter(torch.eye(3))
    with pytest.raises(ConfigError, match="'part' is one of Muon, rest, got None"):
        optimizer.add_param_group({"params": [extra], "param_names": ["extra"]})
    optimizer.add_param_group({"params": [extra], "param_names": ["extra"], "part": "Muon", "lr": 0.5})
    assert [group["part"] for group in optimizer.param_groups] == ["Muon", "rest", "Muon"]
    extra.grad = torch.ones(3, 3)
    optimizer.step()
    assert not torch.equal(extra, torch.eye(3))
    optimizer.load_state_dict(optimizer.state_dict())
    assert [group["lr"] for group in optimizer.param_groups] == [0.02, 3e-4, 0.5]
    assert "momentum_buffer" in optimizer.state[extra]
    assert len(optimizer.state) == 1


def test_a_schedule_acts_on_all_parts_in_proportion_or_on_one_by_its_name():
    wrapper, model = built()
    schedules = [
        dict(type="ConstantLR", factor=0.5, by_epoch=False, end=2),
        dict(type="LinearLR", start_factor=1.0, end_factor=0.1, groups="rest", by_epoch=False, begin=2, end=5),
    ]
    scheduler = build_param_scheduler(wrapper, schedules, epoch_length=6, max_epochs=1)
    assert wrapper.get_lr()["lr"] == [0.01, 1.5e-4]
    for _ in range(6):
        scheduler.step(wrapper.update_params(cross_entropy(model(X), Y)))
    assert wrapper.get_lr()["lr"] == pytest.approx([0.02, 3e-5])


def test_a_schedule_of_what_all_parts_have_acts_on_all_of_them():
    lion = dict(type="Lion", lr=1e-4, betas=(0.8, 0.99), weight_decay=0.4)
    optimizer = parts(dict(where="matrix", optimizer=lion), dict(optimizer=dict(type="AdamW", lr=1e-3)))
    wrapper, _ = built(optimizer, paramwise_cfg=dict(norm_decay_mult=0.0))
    halves = dict(begin=0, milestones=[1], gamma=0.5)
    schedule = build_param_scheduler(
        wrapper,
        [
            dict(type="MultiStepParamScheduler", param_name="weight_decay", **halves),
            dict(type="MultiStepMomentum", **halves),
        ],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of no step of the optimizer
        schedule.step(epoch_end=True)
    groups = wrapper.optimizer.param_groups
    assert [g["weight_decay"] for g in groups] == [0.2, 0.005, 0.0]
    assert [g["betas"] for g in groups] == [(0.4, 0.99), (0.45, 0.999), (0.45, 0.999)]
    older = wrapper.state_dict()
    older["base_param_settings"] = {"params": torch.zeros(1), "lr": 1e-4, "initial_lr": 1e-4}
    wrapper.load_state_dict(older)
    schedule.step(epoch_end=True)


def test_looking_at_a_state_that_is_not_there_does_not_begin_it():
    wrapper, _ = built()
    wrapper.load_state_dict(wrapper.state_dict())
    weight = wrapper.optimizer.param_groups[0]["params"][0]
    assert weight not in wrapper.optimizer.state
    assert wrapper.optimizer.state.get(weight, "none") == "none"
    assert wrapper.state_dict()["state"] == {}


@pytest.mark.parametrize("clip", [dict(max_norm=0.1), dict(clip_value=0.01)])
def test_clipping_may_be_for_one_part_alone(clip):
    sgd = dict(type="SGD", lr=1.0)
    both = parts(dict(name="a", where="matrix", optimizer=sgd), dict(name="b", optimizer=sgd))
    wrapper, model = built(both, clip_grad=dict(clip, parts=["b"]))
    hand = net()
    cross_entropy(hand(X), Y).backward()
    clipped = [p for n, p in hand.named_parameters() if n not in ("2.weight", "4.weight")]
    (nn.utils.clip_grad_norm_ if "max_norm" in clip else nn.utils.clip_grad_value_)(clipped, *clip.values())
    torch.optim.SGD(hand.parameters(), lr=1.0).step()
    assert equal(train(wrapper, model, 1), hand.parameters())


def test_one_part_may_evaluate_the_loss_itself_after_the_others_have_stepped():
    head = dict(where="head", optimizer=dict(type="LBFGS", lr=0.1))
    wrapper, model = built(parts(head, dict(optimizer=dict(type="SGD", lr=0.1))))
    losses = []

    def closure():
        wrapper.optimizer.zero_grad()
        loss = cross_entropy(model(X), Y)
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(3):
        wrapper.step(closure=closure)
    assert losses[-1] < losses[0] / 10
    with pytest.raises(OptimzooError, match="evaluates the loss several times"):
        wrapper.update_params(closure())
    with pytest.raises(ConfigError, match="head and rest would each evaluate the loss"):
        built(parts(dict(head, name="head"), dict(name="rest", optimizer=dict(type="LBFGS"))))


ADAMW = dict(optimizer=dict(type="AdamW"))
SAM = dict(type="SAM", base_optimizer=dict(type="SGD", lr=0.1))


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (dict(type="Muon", lr=0.1), r"optimizer: Muon updates matrices only, and 5 .*rest = \{type = 'AdamW'"),
        (dict(MUON, rest=dict(type="AdamW", lrr=1)), r"optimizer\.rest\.lrr: AdamW has no argument 'lrr'.* 'lr'\?"),
        (dict(MUON, rest="AdamW"), r"optimizer\.rest: an optimizer is described by a dict"),
        (dict(type="Muon", lr=0.1, rset=1), r"optimizer\.rset: Muon has no argument 'rset'\. Did you mean 'rest'\?"),
        (dict(MUON, head="hed"), r"optimizer\.head: no parameter of the model goes by this name"),
        (dict(MUON, head=3), r"optimizer\.head: a pattern of names, or a list of them, is wanted, got 3"),
        (dict(type="Parts"), r"optimizer\.parts: a list of dicts such as .* is wanted, got None"),
        (dict(type="Parts", parts=[3]), r"optimizer\.parts\[0\]: a dict such as .* is wanted, got 3"),
        (dict(type="Parts", parts=[ADAMW], lr=1), r"optimizer\.lr: Parts has no argument 'lr'"),
        (parts(dict(where="matrix", **ADAMW)), r"7 parameters are of no part: 0\.weight \(embedding, \(10, 8\)\)"),
        (parts(dict(where="nothing", **ADAMW), dict(ADAMW, name="b")), r"the part 'AdamW' takes no parameter .* norm"),
        (parts(dict(where=dict(role="matrx"), **ADAMW)), r"parts\[0\]\.where\.role: .* Did you mean 'matrix'\?"),
        (parts(dict(where=dict(rol="matrix"), **ADAMW)), r"parts\[0\]\.where\.rol: it is none of match, module"),
        (parts(dict(where=["head", 3], **ADAMW)), r"parts\[0\]\.where\[1\]: a role .* is wanted, got 3"),
        (parts(dict(were="head", **ADAMW)), r"parts\[0\]\.were: a part has no key 'were'\. Did you mean 'where'\?"),
        (parts(dict(where="head", **ADAMW), ADAMW), r"two parts are called 'AdamW'"),
        (parts(dict(name=3, **ADAMW)), r"parts\[0\]\.name: a string is wanted, got 3"),
        (parts(dict(where="head", optimizer=SAM), ADAMW), r"SAM cannot be a part: it moves the parameters"),
        (parts(dict(where="head", optimizer=MUON), ADAMW), r"parts\[0\]\.optimizer: a part is one optimizer"),
    ],
)
def test_mistakes_are_told_with_their_place(optimizer, message):
    with pytest.raises(ConfigError, match=message):
        built(optimizer)


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (dict(clip_grad=dict(max_norm=1, parts=["res"])), r"clip_grad\.parts: .* of Muon, rest, got \['res'\]"),
        (dict(paramwise_cfg=dict(rules=[dict(part="res", ndim=1, lr_mult=2)])), r"rules\[0\]\.part: .*'rest'\?"),
        (dict(paramwise_cfg=dict(rules=[dict(role="heads", lr_mult=2)])), r"rules\[0\]\.role: .*'head'\?"),
        (dict(paramwise_cfg=dict(rules=[dict(part="Muon", ndim=2, betas=(0, 0))])), r"rules\[0\]\.betas: Muon has no"),
        (
            dict(paramwise_cfg=dict(rules=[dict(part="Muon", role="head", lr_mult=2)])),
            r"rules\[0\]\.part: it is for Muon, and meets only parameters of others .`optimzoo groups`.",
        ),
        (
            dict(paramwise_cfg=dict(rules=[dict(role="head", lr_mult=2, momentum=0.5)])),
            r"rules\[0\]\.momentum: it is for Muon, and meets only parameters of others .`optimzoo groups`.",
        ),
    ],
)
def test_mistakes_around_the_parts_are_told_with_their_place(cfg, message):
    with pytest.raises(ConfigError, match=message):
        built(**cfg)


def test_groups_without_a_model_say_their_part():
    model = net()
    groups = [dict(params=[model[2].weight], part="Muon"), dict(params=[model[6].weight], part="rest")]
    assert [group["lr"] for group in build_optimizer(groups, MUON).param_groups] == [0.02, 3e-4]
    with pytest.raises(ConfigError, match="group 0 is of none of the parts Muon, rest: build it with the model"):
        build_optimizer(model.parameters(), MUON)
    with pytest.raises(ConfigError, match="a parameter is in two parts"):
        build_optimizer([dict(params=[model[2].weight], part=part) for part in ("Muon", "rest")], MUON)


@pytest.mark.parametrize(
    "cfg",
    [
        dict(rules=[dict(match="*", betas=(0.8, 0.9), num_heads=2, lr_mult=0.5, name="all")]),
        dict(custom_keys={"": dict(betas=(0.8, 0.9), num_heads=2, lr_mult=0.5, name="all")}),
    ],
)
def test_a_setting_goes_to_the_parts_that_take_it(cfg):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    optimizer = dict(type="Muon", lr=0.02, rest=dict(type="AdamW", lr=0.01))
    muon, rest = build_optim_wrapper(model, dict(optimizer=optimizer, paramwise_cfg=cfg)).optimizer.param_groups
    assert (muon["num_heads"], muon["lr"], muon["name"]) == (2, 0.01, "all")
    assert (rest["betas"], rest["lr"], rest["name"]) == ((0.8, 0.9), 0.005, "all")
    assert "betas" not in muon
    assert "num_heads" not in rest


def test_a_rule_may_be_for_all_of_a_part():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    optimizer = dict(type="Muon", lr=0.02, rest=dict(type="AdamW", lr=0.01))
    wrapper = build_optim_wrapper(
        model, dict(optimizer=optimizer, paramwise_cfg=dict(rules=[dict(part="rest", lr_mult=0.5)]))
    )
    assert {(group["part"], group["lr"]) for group in wrapper.optimizer.param_groups} == {
        ("Muon", 0.02),
        ("rest", 0.005),
    }
