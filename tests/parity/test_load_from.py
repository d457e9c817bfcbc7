"""`load_from` of a run loads what mmengine's does, before the first step."""

import mmengine.runner
import pytest
import torch
from torch import nn

from optimzoo import Runner
from optimzoo.errors import OptimzooWarning

FORMS = {
    "a state dict": lambda state: state,
    "mmengine's": lambda state: {"meta": {"epoch": 3}, "state_dict": state, "optimizer": {"state": {}}},
    "of a wrapped model": lambda state: {f"module.{name}": value for name, value in state.items()},
    "another head": lambda state: {**state, "2.weight": torch.ones(10, 16), "2.bias": torch.ones(10)},
    "a part of it": lambda state: {"0.weight": state["0.weight"], "head.weight": torch.ones(1)},
}


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.Linear(16, 1))


@pytest.mark.parametrize("form", FORMS)
def test_the_weights(form, tmp_path, recwarn):
    other, path = network(7), tmp_path / "x.pth"
    other[1].running_mean.fill_(3.0)
    torch.save(FORMS[form](other.state_dict()), path)
    oracle = network(0)
    mmengine.runner.load_checkpoint(oracle, str(path), map_location="cpu", revise_keys=[("^module.", "")])
    runner = Runner(
        model=network(0), work_dir=tmp_path, train_dataloader=[torch.ones(4, 3)], train_cfg=dict(max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)), loss=lambda model, batch: model(batch).sum(),
        load_from=path,
    )  # fmt: skip
    state, wanted = runner.model.state_dict(), oracle.state_dict()
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)
    assert not all(torch.equal(state[name], value) for name, value in network(0).state_dict().items())
    warned = any(issubclass(warning.category, OptimzooWarning) for warning in recwarn)
    assert warned == (form in ("another head", "a part of it"))
