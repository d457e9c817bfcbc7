"""One optimizer made of several updates in two and in four processes as it does in one."""

import pytest
import torch

from .parts import PARTS, train_parts, updated
from .task import network, trained

pytestmark = pytest.mark.usefixtures("_alone")


@pytest.fixture(scope="module")
def found(launch, once):
    def fill(folder):
        torch.save(trained(folder / "single", **PARTS), folder / "single.pt")
        for processes in (2, 4):
            for code, output in launch(train_parts, folder, processes):
                assert code == 0, output

    return {file.stem: torch.load(file) for file in once("parts", fill).glob("*.pt")}


@pytest.mark.parametrize("resumed", ["", "-resumed"])
@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize(("strategy", "tolerance"), [("ddp", 1e-10), ("fsdp2", 1e-2)])
def test_the_parts_train_as_in_one_process(strategy, tolerance, processes, resumed, found):
    mine, alone = found[f"{strategy}-{processes}{resumed}"], found["single"]
    for name, value in alone["parameters"].items():
        torch.testing.assert_close(mine["parameters"][name], value, rtol=0, atol=tolerance)
    assert mine["val"] == pytest.approx(alone["val"], rel=tolerance / 10)


@pytest.mark.parametrize("processes", [2, 4])
def test_from_shares_of_the_gradients_muon_makes_the_update_of_the_whole_in_bfloat16(processes, found):
    before, alone, mine = network().state_dict(), updated(network()), found[f"once-{processes}"]
    for name, start in before.items():
        update = alone[name] - start
        assert update.norm() > 0
        tolerance = 0.06 if name in ("0.weight", "1.linear.weight", "2.linear.weight") else 1e-10  # Muon takes these
        assert (mine[name] - alone[name]).norm() < tolerance * update.norm(), name
