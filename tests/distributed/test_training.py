import pytest
import torch

from optimzoo import build_optim_wrapper
from optimzoo.errors import OptimzooWarning
from optimzoo.run.store.checkpoint import load_checkpoint
from tests.plugins.conformance import config

from .scenarios import SHARDED, STRATEGIES, small_network, two_layers, update
from .task import UPDATES, trained

pytestmark = pytest.mark.usefixtures("_alone")

WRAPPED = (
    *("modes-ddp", "modes-fsdp2", "modes-ddp-8", "modes-fsdp2-8"),
    *("curvature-ddp", "several-ddp", "several-fsdp2"),
)


def assert_equal(mine, theirs):
    for name, value in theirs["parameters"].items():
        torch.testing.assert_close(mine["parameters"][name], value, rtol=0, atol=1e-10)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_processes_equal_one_on_the_joined_batch(strategy, found, single):
    two = found(strategy)
    if strategy == "driven":
        two["parameters"] = {k.removeprefix("net."): v for k, v in two["parameters"].items()}
    assert_equal(two, single)
    assert two["grad_norm"] == pytest.approx(single["grad_norm"], abs=1e-10)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2", "zero"])
def test_what_is_logged_is_that_of_the_joined_batch(strategy, found, single):
    two = found(strategy)
    assert two["val"] == pytest.approx(single["val"], abs=1e-10)
    assert two["log"].keys() == single["log"].keys()
    for name, column in single["log"].items():
        assert two["log"][name] == [(step, pytest.approx(value, abs=1e-6)) for step, value in column]


def test_gradients_are_exchanged_once_per_update(found):
    assert found("exchanges") == {"ddp": UPDATES, "fsdp2": 3 * UPDATES}  # two blocks, and what is around them


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_without_a_seed_all_start_from_the_model_and_the_seed_of_the_first(strategy, found):
    run = found("start")[strategy]
    assert len(set(run["seeds"])) == 1
    assert len({tuple(x.tolist()) for batches in run["samples"] for batch in batches for x in batch}) == 44
    for tensor in (*run["model"].values(), *(buffer for buffers in run["buffers"] for buffer in buffers)):
        assert not tensor.any()


def test_all_resume_from_the_checkpoint_that_the_first_finds(found, folder):
    assert found("resume") == [(8, str(folder / "resume-0" / "checkpoint_00000008.pt"))] * 2


def test_gradients_of_layers_that_one_process_uses_are_in_the_checkpoint(found):
    layers = two_layers()
    for layer in layers:
        layer(torch.ones(1, 3)).sum().backward()
    gradients = {name: p.grad / 2 for name, p in layers.named_parameters()}
    torch.testing.assert_close(found("layers"), gradients)


def test_values_are_logged_by_name_and_those_of_one_process_only_are_an_error(found):
    first, second, error = found("logs")
    assert (first, second) == ({"a": 1.0, "b": 100.0}, {"b": 0.5})
    assert error == "every process must return the same values to log, and only one of ranks 0 and 1 has extra"


@pytest.mark.parametrize("step", [8, 12], ids=["inside an epoch and a window", "between epochs and windows"])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2", "zero"])
def test_a_checkpoint_of_two_processes_resumes_on_one(strategy, step, found, single, folder):
    checkpoint = folder / strategy / f"checkpoint_{step:08d}.pt"
    settings = {k: v for k, v in STRATEGIES[strategy].items() if k != "strategy"}
    if strategy == "zero":
        settings["strategy"] = "ddp"
    with pytest.warns(OptimzooWarning, match="train_dataloader.batch_size is 8"):
        assert_equal(trained(folder / f"{strategy}-{step}-alone", resume=checkpoint, **settings), single)


@pytest.mark.parametrize("step", [8, 12], ids=["inside an epoch and a window", "between epochs and windows"])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_checkpoint_of_one_process_resumes_on_two(strategy, step, found, single):
    assert_equal(found(f"{strategy}-{step}"), single)


@pytest.mark.parametrize("run", WRAPPED)
def test_what_wrappers_and_optimizers_need_is_met_in_two_processes_too(run, found):
    alone = found(f"single-{run.partition('-')[0]}")
    two = found(run)
    assert_equal(two, alone)
    assert two["val"] == pytest.approx(alone["val"], abs=1e-10)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2", "zero"])
def test_the_best_checkpoint_is_that_of_one_process(strategy, found, single, folder):
    best, expected = (load_checkpoint(folder / name / "best.pt") for name in (strategy, "single"))
    assert best["iter"] == expected["iter"]
    assert_equal({"parameters": best["model"]}, {"parameters": expected["model"]})


@pytest.mark.parametrize("name", SHARDED)
def test_an_optimizer_that_fsdp2_takes_updates_as_in_one_process(name, found):
    model = small_network(name)
    wrapper = build_optim_wrapper(model, dict(optimizer=config(name)))
    for _ in range(2):
        update(model, wrapper)
    tolerance = 1e-10 if model[0].weight.dtype == torch.float64 else 1e-6
    for key, value in model.state_dict().items():
        torch.testing.assert_close(found("sharded")[name][key], value, rtol=0, atol=tolerance)
