"""Resuming from a checkpoint of somebody else's: its config is compared, and nothing in it is imported or opened."""

import sys

import pytest
import torch

from optimzoo.errors import CheckpointError
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint

from ..core.run.network import dataset, parameters

SETTINGS = dict(train_dataloader=dict(dataset=dataset(), batch_size=4), param_scheduler=dict(type="LinearLR", end=2))


def bait(name):
    """Return a config that names a module in every place that a run builds something of."""
    named = dict(type=f"{name}:Thing")
    return dict(
        model=named,
        loss=f"{name}:loss",
        metrics=[f"{name}:metric"],
        curvature=f"{name}:curvature",
        optim_wrapper=dict(type=f"{name}:Wrapper", constructor=f"{name}:Constructor", optimizer=named),
        param_scheduler=[named],
        hooks=[named],
        strategy=named,
        train_dataloader=dict(dataset=named, collate_fn=f"{name}:collate"),
        val_dataloader=dict(dataset=named),
        _base_=f"{name}.py",
        code_dir=".",
    )


@pytest.mark.parametrize("on_change", ["error", "restore", "config"])
@pytest.mark.filterwarnings("ignore:the config differs", "ignore:a state of Thing in the checkpoint")
def test_nothing_that_it_names_is_imported_or_opened(on_change, make_runner, tmp_path, monkeypatch):
    straight = make_runner(**SETTINGS)
    straight.train()
    path = checkpoints_in(tmp_path / "run")[-1]
    state = load_checkpoint(path)
    (tmp_path / "untrusted.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()")
    state["config"] = bait("untrusted")
    state["hooks"]["untrusted:Thing"] = [{"x": 1}]
    torch.save(state, path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    opened = []
    watching = [True]
    sys.addaudithook(lambda event, args: watching and event in ("import", "open") and opened.append(str(args[0])))
    runner = make_runner(**SETTINGS, resume=path, on_change=on_change, work_dir=tmp_path / "again")
    runner.train()
    watching.clear()
    assert "untrusted" not in sys.modules
    assert not (tmp_path / "executed").exists()
    assert not [name for name in opened if "untrusted" in name]
    assert any("checkpoint" in name for name in opened), "the watch works"
    assert torch.equal(parameters(runner), parameters(straight))


@pytest.mark.parametrize("on_change", ["error", "restore", "config"])
def test_nor_is_a_schedule_or_an_optimizer_of_its_state(on_change, make_runner, tmp_path, monkeypatch):
    make_runner(**SETTINGS).train()
    path = checkpoints_in(tmp_path / "run")[-1]
    state = load_checkpoint(path)
    (tmp_path / "untrusted_too.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()")
    monkeypatch.syspath_prepend(str(tmp_path))
    for key, value in list(state["param_scheduler"]["schedulers"][0].items()):
        if isinstance(value, str):
            state["param_scheduler"]["schedulers"][0][key] = "untrusted_too:Thing"
    state["optimizers"] = {"": "untrusted_too:Thing"}
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="optimizers.*: it was made with the optimizer untrusted_too:Thing"):
        make_runner(**SETTINGS, resume=path, on_change=on_change)
    state["optimizers"] = {"": "torch.optim.adamw:AdamW"}
    torch.save(state, path)
    if on_change != "config":
        with pytest.raises(CheckpointError):
            make_runner(**SETTINGS, resume=path, on_change=on_change)
    assert "untrusted_too" not in sys.modules
    assert not (tmp_path / "executed").exists()


def test_nor_is_a_curve_inside_a_sequence_of_its_state(make_runner, tmp_path, monkeypatch):
    def sequence(end):
        curves = [dict(type="Linear", start_factor=0.5, steps=2), dict(type="Constant", factor=0.5)]
        return {**SETTINGS, "param_scheduler": dict(type="SequenceLR", curves=curves, begin=0, end=end)}

    make_runner(**sequence(3)).train()
    path = checkpoints_in(tmp_path / "run")[-1]
    state = load_checkpoint(path)
    (tmp_path / "untrusted_curve.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()")
    monkeypatch.syspath_prepend(str(tmp_path))
    arguments = state["param_scheduler"]["schedulers"][0]["args"]
    arguments["curves"] = [dict(type="untrusted_curve:Thing", steps=2), dict(type="Constant", factor=0.5)]
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="nothing that only a checkpoint names is imported"):
        make_runner(**sequence(4), resume=path, on_change="restore")
    assert "untrusted_curve" not in sys.modules
    assert not (tmp_path / "executed").exists()
