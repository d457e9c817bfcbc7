"""What accelerate prepares trains as a loop by hand, in one process and in two; what it cannot drive is refused."""

import functools

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper, build_optimizer, build_param_scheduler
from optimzoo.errors import ConfigError, OptimzooError
from optimzoo.trainers.torch import torch_scheduler
from tests.distributed.conftest import launch

from .task import (
    ACCUMULATE,
    CHAIN,
    MAX_NORM,
    SAVED,
    TASKS,
    UPDATES,
    Classifier,
    assert_same,
    batches,
    by_hand,
    rows,
)

accelerate = pytest.importorskip("accelerate")

__all__ = ["launch"]


@pytest.fixture(autouse=True)
def _fresh():
    """accelerate keeps what an Accelerator is told for the next one."""
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()


def shares(accelerator, done=0):
    """The batches of this process."""
    processes = accelerator.num_processes
    every = list(batches(rows(processes=processes)))[accelerator.process_index :: processes]
    return enumerate(every[done * ACCUMULATE :], done * ACCUMULATE + 1)


def trained(folder, cfg, chain, resumed=False):
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATE)
    model = Classifier()
    optimizer = build_optim_wrapper(model, cfg).optimizer
    schedule = torch_scheduler(optimizer, chain, total_updates=UPDATES)
    model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
    if resumed:
        accelerator.load_state(folder / "half")
    for number, batch in shares(accelerator, SAVED if resumed else 0):
        with accelerator.accumulate(model):
            accelerator.backward(model(**batch)["loss"])
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), MAX_NORM)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        if number == SAVED * ACCUMULATE and not resumed:
            accelerator.save_state(folder / "half")
    assert schedule.scheduler.last_epoch == UPDATES
    return accelerator.unwrap_model(model).state_dict()


def wrapped(folder, cfg, chain):
    """The wrapper with a prepared model: it accumulates and clips by itself, and accelerate averages."""
    accelerator = accelerate.Accelerator(cpu=True)
    model = Classifier()
    own = dict(accumulative_counts=ACCUMULATE, clip_grad=dict(max_norm=MAX_NORM))
    wrapper = build_optim_wrapper(model, cfg | own)
    schedules = build_param_scheduler(
        wrapper, [{**each, "by": "update"} for each in chain], max_iters=UPDATES * ACCUMULATE
    )
    model, wrapper, schedules = accelerator.prepare(model, wrapper, schedules)
    for _, batch in shares(accelerator):
        with wrapper.optim_context(model):
            loss = model(**batch)["loss"]
        schedules.step(wrapper.update_params(loss))
    return accelerator.unwrap_model(model).state_dict()


def by_epoch(folder):
    """A prepared schedule that counts epochs, stepped at the end of each."""
    accelerator = accelerate.Accelerator(cpu=True)
    model = nn.Linear(1, 1)
    optimizer = build_optimizer(model, "SGD", lr=1.0)
    model, optimizer, schedule = accelerator.prepare(
        model, optimizer, torch_scheduler(optimizer, dict(type="ExponentialLR", gamma=0.5))
    )
    rates = []
    for _ in range(3):
        for _ in range(2):
            accelerator.backward(model(torch.ones(1, 1)).sum())
            optimizer.step()
        schedule.step()
        rates += schedule.get_last_lr()
    return torch.tensor(rates)


def in_each_process(folder):
    from pathlib import Path

    folder, found = Path(folder), {}
    scenarios = {"whole": trained, "resumed": functools.partial(trained, resumed=True), "wrapped": wrapped}
    for name, task in TASKS.items():
        for how, scenario in scenarios.items():
            found[name, how] = scenario(folder / name, *task)
            _fresh_state()
    found["by_epoch"] = by_epoch(folder)
    torch.save(found, folder / f"found{torch.distributed.get_rank()}.pt")


def _fresh_state():
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("scenario", [trained, wrapped])
def test_one_process_ends_at_the_weights_of_a_loop_by_hand(scenario, name, tmp_path):
    assert_same(scenario(tmp_path, *TASKS[name]), by_hand(name=name))


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_resumed_run_ends_at_the_same_bits(task, tmp_path):
    whole = trained(tmp_path, *task)
    assert_same(trained(tmp_path, *task, resumed=True), whole, tolerance=0)


def test_two_processes_do_so_too(launch, tmp_path):
    for code, output in launch(in_each_process, tmp_path):
        assert code == 0, output
    first, second = (torch.load(tmp_path / f"found{rank}.pt") for rank in range(2))
    for name in TASKS:
        whole = first[name, "whole"]
        for how in ("whole", "wrapped"):
            assert_same(first[name, how], by_hand(2, name), tolerance=1e-12 if name == "AdamW" else 1e-6)
        assert_same(first[name, "resumed"], whole, tolerance=0)
        for how in ("whole", "resumed", "wrapped"):
            assert_same(second[name, how], first[name, how], tolerance=0)
    assert first["by_epoch"].tolist() == second["by_epoch"].tolist() == [0.5, 0.25, 0.125]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("by", ["iter", "update"])
def test_a_skipped_update_moves_no_schedule(by, fused):
    accelerator = accelerate.Accelerator(cpu=True)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    model = nn.Linear(1, 1)
    optimizer = build_optimizer(model, dict(type="SGD", lr=1.0, fused=fused))
    schedule = torch_scheduler(optimizer, dict(type="ExponentialLR", gamma=0.5, by=by))
    model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
    seen = []
    for number in range(4):
        before = model.weight.item()
        loss = model(torch.ones(1, 1)).sum() * (float("inf") if number in (0, 2) else 1.0)
        accelerator.scaler.scale(loss).backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        seen.append((model.weight.item() == before, schedule.get_last_lr()[0]))
    assert seen == [(True, 1.0), (False, 0.5), (True, 0.5), (False, 0.25)]


@pytest.mark.parametrize("fused", [False, True])
def test_a_schedule_by_update_passes_over_what_a_scaler_of_torch_skips(fused):
    model = nn.Linear(1, 1)
    optimizer = build_optimizer(model, dict(type="SGD", lr=1.0, fused=fused))
    schedule = torch_scheduler(optimizer, dict(type="ExponentialLR", gamma=0.5, by="update"))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    for number in range(3):
        scaler.scale(model(torch.ones(1, 1)).sum() * (float("inf") if number == 1 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
        optimizer.zero_grad()
    assert schedule.get_last_lr() == [0.25]


class TestRefused:
    def test_a_wrapper_where_accelerate_accumulates(self):
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
        model = nn.Linear(1, 1)
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1)))
        model, wrapper = accelerator.prepare(model, wrapper)
        with accelerator.accumulate(model), pytest.raises(OptimzooError, match="accelerate accumulates or scales"):
            wrapper.update_params(model(torch.ones(1, 1)).sum())

    def test_a_wrapper_around_what_accelerate_prepared(self):
        accelerator = accelerate.Accelerator(cpu=True)
        model = nn.Linear(1, 1)
        prepared = accelerator.prepare(build_optimizer(model, "SGD", lr=0.1))
        with pytest.raises(ConfigError, match="AcceleratedOptimizer of accelerate .* before it is prepared"):
            build_optim_wrapper(model, dict(optimizer=prepared))

    def test_a_group_of_schedules_that_is_told_nothing(self):
        accelerator = accelerate.Accelerator(cpu=True)
        optimizer = build_optimizer(nn.Linear(1, 1), "SGD", lr=0.1)
        optimizer, schedules = accelerator.prepare(optimizer, build_param_scheduler(optimizer, CHAIN[:1], max_iters=10))
        with pytest.raises(OptimzooError, match=r"step\(\) was not told what has ended"):
            schedules.step()
