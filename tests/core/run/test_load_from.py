"""`load_from`: what does not fit is named, and no code of the file runs. tests/parity has what is loaded."""

import os

import pytest
import torch
from torch import nn

from optimzoo.errors import CheckpointError, ConfigError, OptimzooWarning
from optimzoo.run.check import config_problems
from optimzoo.run.store.checkpoint import checkpoints_in

from .network import network, parameters

NORMED = lambda out=1: nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.Linear(16, out))  # noqa: E731


def other(out=1):
    torch.manual_seed(7)
    model = NORMED(out)
    model[1].running_mean.fill_(3.0)
    return model


def test_a_head_of_another_size_and_what_else_does_not_fit_is_named_and_kept(make_runner, tmp_path):
    state = {**other(10).state_dict(), "extra.weight": torch.ones(1)}
    del state["1.bias"]
    torch.save(state, tmp_path / "x.pth")
    model = NORMED()
    kept = model[2].weight.clone()
    with pytest.warns(OptimzooWarning) as caught:
        runner = make_runner(model=model, load_from=tmp_path / "x.pth")
    assert str(caught[0].message) == (
        f"load_from: {tmp_path / 'x.pth'} gives 6 of the model's 9 tensors. not in the file: 1.bias; not in the model: "
        "extra.weight; of another shape: 2.weight (10, 16), which is (1, 16) in the model, 2.bias (10,), which is (1,) "
        "in the model"
    )
    assert torch.equal(runner.model[2].weight, kept)
    assert torch.equal(runner.model[0].weight, other(10)[0].weight)


def test_a_checkpoint_of_a_run_can_be_loaded_and_a_run_that_is_resumed_loads_nothing(
    make_runner, tmp_path, monkeypatch
):
    first = make_runner(work_dir=tmp_path / "first")
    first.train()
    monkeypatch.chdir(tmp_path)
    path = os.path.relpath(checkpoints_in(tmp_path / "first")[-1])
    second = make_runner(load_from=path, train_cfg=dict(max_epochs=1))
    assert torch.equal(parameters(second), parameters(first))
    second.train()
    (tmp_path / path).unlink()
    with pytest.warns(OptimzooWarning, match="load_from stays"):
        again = make_runner(load_from="gone.pth", train_cfg=dict(max_epochs=1), resume=True)
    assert torch.equal(parameters(again), parameters(second))


class Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file"),
        (b"text", "cannot be read with weights_only=True"),
        ({"state_dict": {"0.weight": Evil()}}, "cannot be read with weights_only=True, which runs no code"),
        ({"meta": {}}, "holds no state dict, itself or under state_dict or model"),
        ([1, 2], "holds no state dict"),
        ({"a.weight": torch.ones(2)}, r"has none of the model's weights: it has a\.weight, and the model 0\.weight"),
        ({"0.weight": torch.ones(2)}, r"has none of the model's weights"),
    ],
)
def test_a_file_without_weights_is_an_error(content, said, make_runner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=rf"^load_from: .*{said}"):
        make_runner(load_from=path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("value", "said"), [(3, "path of a file"), ("", "path"), ("https://a.b/x.pth", "downloaded")])
def test_what_is_no_path_is_an_error(value, said, make_runner):
    with pytest.raises(ConfigError, match=rf"^load_from: .*{said}"):
        make_runner(load_from=value)


def test_a_check_tells_of_a_file_that_is_not_there(tmp_path):
    found = config_problems(dict(model=network(), load_from=str(tmp_path / "x.pth")))
    assert [str(problem) for problem in found if "load_from" in str(problem)] == [
        f"load_from: there is no file {tmp_path / 'x.pth'}"
    ]
