import pytest
import torch
import torch.distributed as dist

from optimzoo.errors import OptimzooWarning

from .conftest import check, launch
from .scenarios import STRATEGIES
from .task import UPDATES, trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def single(folder):
    yield trained(folder / "single")
    if dist.is_initialized():  # by what trains alone with strategy="ddp"
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(folder, single):
    check(launch("tests.distributed.scenarios", "everything", folder))
    return lambda name: torch.load(folder / f"{name}.pt")


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
