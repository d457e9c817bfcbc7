"""What a checkpoint holds: written in parts, read by versions to come, and told apart from what no run has written."""

import copy
from pathlib import Path

import pytest
import torch

from optimzoo import OptimWrapper
from optimzoo.errors import CheckpointError, shown
from optimzoo.run import EMAHook, Hook
from optimzoo.run.loop.randomness import random_state
from optimzoo.run.parts import PARTS
from optimzoo.run.store.checkpoint import FORMAT, checkpoints_in, load_checkpoint

from ...faults.helpers import same
from .network import dataset, error, network, parameters

OLD = Path(__file__).parent / "format2" / "checkpoint_00000007.pt"
"""Of a run of three epochs of five iterations, stopped in the second window of accumulation, before parts had names."""

SETTINGS = dict(
    train_dataloader=dict(dataset=dataset(), batch_size=4, shuffle=True),
    val_dataloader=dict(dataset=dataset(8), batch_size=8),
    metrics=error,
    optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.01), accumulative_counts=4),
    param_scheduler=dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=10),
    checkpoint=dict(best="error"),
)


@pytest.mark.filterwarnings("ignore:the config differs")
def test_one_of_before_parts_had_names_goes_on(make_runner, tmp_path):
    averages = EMAHook(0.9), EMAHook(0.9)
    straight = make_runner(**SETTINGS, hooks=[averages[0]], work_dir=tmp_path / "straight")
    straight.train()
    resumed = make_runner(**SETTINGS, hooks=[averages[1]], resume=OLD)
    assert (resumed.epoch, resumed.iter, resumed.iter_in_epoch) == (1, 7, 2)
    assert resumed.hooks[-1].best_value == straight.history.column("val_error")[0][1]
    resumed.train()
    assert torch.allclose(parameters(resumed), parameters(straight), rtol=1e-4, atol=1e-6)
    for new, old in zip(averages[1].averaged.parameters(), averages[0].averaged.parameters()):
        assert torch.allclose(new, old, rtol=1e-4, atol=1e-6)
    assert len(resumed.history) == len(straight.history)


def test_its_keys_are_those_of_its_parts(make_runner, tmp_path):
    make_runner(**SETTINGS).train()
    state = load_checkpoint(checkpoints_in(tmp_path / "run")[-1])
    assert list(state) == ["format", *(key for part in PARTS for key in part.keys)]
    assert state["format"] == FORMAT == load_checkpoint(OLD)["format"]
    assert state.keys() - {"frozen", "averaged"} == load_checkpoint(OLD).keys()


def test_every_part_takes_back_what_it_returned(make_runner, tmp_path):
    """A run that is resumed and saved at once has the checkpoint that it came from."""
    make_runner(**SETTINGS, hooks=[EMAHook(0.9)]).train()
    before = load_checkpoint(checkpoints_in(tmp_path / "run")[-1])
    again = make_runner(**SETTINGS, hooks=[EMAHook(0.9)], resume=True)
    again.save(tmp_path / "again.pt")
    after = load_checkpoint(tmp_path / "again.pt")
    for key in before.keys() - {"random", "config"}:
        assert same(before[key], after[key]), key


UNFIT = [{"torch": 3}, {"python": [3, [1], None]}, {"numpy": ["PCG64", [1], 0, 0, 0.0]}]
WRONG = [
    *(
        (key, value)
        for key in ("epoch", "iter", "iter_in_epoch", "rows", "seed")
        for value in (-5, 1.5, "3", None, True)
    ),
    *((key, value) for key in ("model", "optim_wrapper", "hooks", "gradients", "config") for value in (None, [], 3)),
    *(("epoch_length", value) for value in (-1, "5", [])),
    *(("validation_due", value) for value in (None, 1, "no")),
    *(("random", value) for value in ({}, None, [{}], [3], [{"epoch_start": None, "now": None}])),
    *(("random", [{"epoch_start": random_state(), "now": {**random_state(), **w}}]) for w in UNFIT),
    ("rows", 10**9),
    *((key, 10**600) for key in ("epoch", "iter", "iter_in_epoch", "rows", "seed")),
    ("seed", 2**63),
    ("backward_passes", {"": 10**18}),
    ("backward_passes", {"": -1}),
    ("backward_passes", {"": "7"}),
    ("param_scheduler", {}),
    ("optim_wrapper", {}),
    ("optim_wrapper", {"state": 3, "param_groups": 4}),
    ("optimizers", {"": 5}),
    ("gradients", {"0.weight": 3}),
    ("gradients", {"0.weight": torch.ones(1, 1, 1)}),
    ("hooks", {"optimzoo.run:CheckpointHook": 3}),
    ("model", {"0.weight": 3}),
]


@pytest.fixture(scope="module")
def saved():
    return load_checkpoint(OLD)


@pytest.mark.filterwarnings("ignore:a state of EMAHook in the checkpoint")
@pytest.mark.parametrize(("key", "value"), WRONG, ids=[f"{k}={shown(v, 20)}" for k, v in WRONG])
def test_a_value_that_no_run_writes_is_an_error_with_file_and_key(key, value, saved, make_runner, tmp_path):
    path = tmp_path / "changed.pt"
    torch.save({**copy.copy(saved), key: value}, path)
    with pytest.raises(CheckpointError, match=rf"changed\.pt .*{key}"):
        make_runner(**SETTINGS, resume=path)


def with_a_lie(lie, whole):
    """Put other counts into a state, and return what is to be said of it."""
    wrapper, schedules = whole["optim_wrapper"], whole["param_scheduler"]
    if lie == "passes":
        wrapper["counts"] = {"inner_count": 10**18, "max_counts": 15}
        return r"counts\.inner_count is 10{18}, which 7 iterations cannot have made"
    if lie == "negative":
        wrapper["counts"] = {"inner_count": -1, "max_counts": 15}
        return "inner_count"
    if lie == "updates":
        schedules["updates"] = [10**9]
        return r"updates\[0\] is 10{9}, which 7 iterations cannot have made"
    if lie in ("epoch", "iter"):
        schedules["counts"] = {**schedules["counts"], lie: 10**9}
        return rf"counts\.{lie} is 10{{9}}, where the run's is [17]"
    whole["iter"] = 10**9
    schedules["counts"] = {**schedules["counts"], "iter": 10**9}
    return r"iter is 10{9}, and the run has 15 iterations"


@pytest.mark.parametrize("on_change", ["error", "config"])
@pytest.mark.parametrize("lie", ["passes", "negative", "updates", "epoch", "iter", "all"])
def test_counts_that_no_run_comes_to_are_an_error_that_names_them(lie, on_change, saved, make_runner, tmp_path):
    whole = copy.deepcopy(saved)
    told = with_a_lie(lie, whole)
    torch.save(whole, tmp_path / "changed.pt")
    with pytest.raises(CheckpointError, match=rf"changed\.pt does not fit this config: .*{told}"):
        make_runner(**SETTINGS, resume=tmp_path / "changed.pt", on_change=on_change)


def test_one_under_the_name_of_another_step_or_beside_the_log_of_another_run_is_an_error(make_runner, tmp_path):
    make_runner().train()
    first, last = checkpoints_in(tmp_path / "run")
    moved = last.with_name("checkpoint_00000020.pt")
    last.rename(moved)
    with pytest.raises(CheckpointError, match=r"00020\.pt is the checkpoint of another step: its 'iter' is 15"):
        make_runner(resume=True)
    moved.unlink()
    log = tmp_path / "run" / "metrics.csv"
    head, *rows = log.read_text().splitlines(keepends=True)
    log.write_text("".join([head, *rows[1:]]))
    said = "of another run: its row 10 is of step 11, where the checkpoint's is 10; remove it"
    with pytest.raises(CheckpointError, match=rf"metrics\.csv is the log {said}"):
        make_runner(resume=True)
    log.unlink()
    assert make_runner(resume=True).resumed_from == first


@pytest.mark.parametrize("key", [key for part in PARTS for key in part.keys if key not in part.new])
def test_a_key_that_is_missing_is_an_error_with_file_and_key(key, saved, make_runner, tmp_path):
    path = tmp_path / "changed.pt"
    torch.save({k: v for k, v in saved.items() if k != key}, path)
    with pytest.raises(CheckpointError, match=rf"changed\.pt has no '{key}'"):
        make_runner(**SETTINGS, resume=path)


@pytest.mark.parametrize(
    "counts", [dict(iter=10**9, iter_in_epoch=10**9), dict(epoch=10**9), dict(iter_in_epoch=8), dict(iter_in_epoch=6)]
)
def test_counts_that_contradict_each_other_are_an_error(counts, saved, make_runner, tmp_path):
    torch.save({**saved, **counts}, tmp_path / "changed.pt")
    with pytest.raises(CheckpointError, match=r"changed\.pt does not fit .*epochs and .* are not .* iterations"):
        make_runner(**SETTINGS, resume=tmp_path / "changed.pt")


class Freeze(Hook):
    def before_epoch(self, runner):
        if runner.epoch == 1:
            runner.model[0].weight.requires_grad_(False)


@pytest.mark.parametrize("on_change", ["error", "restore", "config"])
def test_what_a_hook_has_frozen_is_frozen_when_the_run_goes_on(on_change, make_runner, tmp_path, caplog):
    make_runner(hooks=[Freeze()]).train()
    path = checkpoints_in(tmp_path / "run")[0]
    with caplog.at_level("INFO", "optimzoo.run"):
        resumed = make_runner(resume=path, on_change=on_change)
    told = "0.weight is frozen, as in the checkpoint" in caplog.text
    kept = [name for name, parameter in resumed.model.named_parameters() if not parameter.requires_grad]
    assert (kept, told) == (([], False) if on_change == "config" else (["0.weight"], True))


class Unfreeze(Hook):
    """Trains a layer from the second epoch on."""

    def __init__(self, **settings):
        self.settings = settings

    def after_epoch(self, runner):
        if runner.epoch == 1:
            named = [(f"0.{n}", p.requires_grad_()) for n, p in runner.model[0].named_parameters()]
            runner.optim_wrapper.optimizer.add_param_group({"params": named, **self.settings})


class Interrupt(Hook):
    def after_iter(self, runner, outcome, logs):
        if runner.iter == 12:
            raise KeyboardInterrupt


@pytest.mark.parametrize("on_change", ["error", "restore", "config"])
@pytest.mark.parametrize("schedule", [None, dict(type="CosineAnnealingLR", by_epoch=False, T_max=15)])
@pytest.mark.parametrize("settings", [{}, dict(lr=0.001, weight_decay=0.5)])
def test_groups_that_join_during_a_run_come_back(settings, schedule, on_change, make_runner, tmp_path):
    def config():
        model = network()
        model[0].requires_grad_(False)
        groups = [{"params": [(f"3.{n}", p)], "weight_decay": decay} for (n, p), decay in
                  zip(model[3].named_parameters(), (0.1, 0.0))]  # fmt: skip
        wrapper = OptimWrapper(torch.optim.AdamW(groups, lr=0.01))
        return dict(model=model, optim_wrapper=wrapper, param_scheduler=schedule)

    straight = make_runner(**config(), hooks=[Unfreeze(**settings)], work_dir=tmp_path / "straight")
    straight.train()
    with pytest.raises(KeyboardInterrupt):
        make_runner(**config(), hooks=[Unfreeze(**settings), Interrupt()]).train()
    resumed = make_runner(**config(), hooks=[Unfreeze(**settings)], resume=True, on_change=on_change)
    assert len(resumed.optim_wrapper.optimizer.param_groups) == 3
    resumed.train()
    assert torch.equal(parameters(resumed), parameters(straight))
    assert not torch.equal(resumed.model[0].weight, network()[0].weight)
    assert resumed.history.column("lr") == straight.history.column("lr")


@pytest.mark.parametrize(
    "optimizer",
    [
        dict(type="Adafactor", lr=0.01, relative_step=False, scale_parameter=False),
        dict(type="NAdam", lr=0.01, betas=(0.9, 0.99)),
        dict(type="ASGD", lr=0.01),
        dict(type="AdamW", lr=0.01, betas=(0.9, 0.99)),
    ],
    ids=lambda value: value["type"],
)
def test_the_state_of_weights_of_few_bits_is_resumed_bit_by_bit(optimizer, make_runner, tmp_path):
    dtype = torch.bfloat16
    x, y = (tensor.to(dtype).split(4) for tensor in dataset().tensors)
    settings = dict(train_dataloader=list(zip(x, y)), optim_wrapper=dict(optimizer=optimizer))
    straight = make_runner(**settings, model=network().to(dtype), work_dir=tmp_path / "straight")
    straight.train()
    with pytest.raises(KeyboardInterrupt):
        make_runner(**settings, model=network().to(dtype), hooks=[Interrupt()]).train()
    resumed = make_runner(**settings, model=network().to(dtype), resume=True)
    saved = load_checkpoint(resumed.resumed_from)["optim_wrapper"]["state"]
    assert same(resumed.optim_wrapper.optimizer.state_dict()["state"], saved)
    resumed.train()
    assert torch.equal(parameters(resumed), parameters(straight))
    assert same(resumed.optim_wrapper.state_dict()["state"], straight.optim_wrapper.state_dict()["state"])
