"""The loggers of others, each read back by its own tool, and the norms of the groups."""

import pytest
import torch

from optimzoo.errors import ConfigError, MissingDependencyError, OptimzooWarning
from optimzoo.run import Hook, LogTo

from .network import dataset, error, fail
from .plugin import Stop


class Keeps:
    def __init__(self, fails_at=None):
        self.rows, self.closed, self.fails_at = [], 0, fails_at

    def log(self, step, values):
        if step == self.fails_at:
            raise ValueError("the server is away")
        self.rows.append((step, values))

    def close(self):
        self.closed += 1


def rows_of(runner):
    rows = runner.history.rows(0)
    return [(row["iter"], {k: v for k, v in row.items() if k not in ("iter", "epoch")}) for row in rows]


@pytest.fixture
def val():
    return dict(val_dataloader=dict(dataset=dataset(8), batch_size=8), metrics=error)


class TestLogTo:
    def test_a_logger_gets_every_row_of_the_log(self, make_runner, val):
        kept = Keeps()
        runner = make_runner(**val, hooks=[LogTo(kept)], log_interval=4)
        runner.train()
        assert kept.rows == rows_of(runner)
        assert kept.closed == 1
        assert {"loss", "lr"} <= kept.rows[0][1].keys()

    def test_a_resumed_run_goes_on_with_the_row_that_follows(self, make_runner):
        first, second = Keeps(), Keeps()
        with pytest.raises(KeyboardInterrupt):
            make_runner(hooks=[LogTo(first), Stop(7)]).train()
        runner = make_runner(hooks=[LogTo(second)], resume=True)
        runner.train()
        assert (first.closed, second.closed) == (1, 1)
        assert second.rows == [row for row in rows_of(runner) if row[0] > 5]

    def test_a_training_that_goes_on_after_its_logger_was_closed_says_so(self, make_runner):
        kept = Keeps()
        runner = make_runner(hooks=[LogTo(kept), Stop(7)])
        with pytest.raises(KeyboardInterrupt):
            runner.train()
        with pytest.warns(OptimzooWarning, match="LogTo logs nothing more: its logger was closed"):
            runner.train()
        assert (kept.closed, [step for step, _ in kept.rows]) == (1, [1, 2, 3, 4, 5, 6])

    def test_it_is_opened_with_its_first_rows(self, make_runner):
        opened = []

        class Opens(LogTo):
            def open(self, runner):
                opened.append(runner.iter)
                return super().open(runner)

        with pytest.raises(RuntimeError, match="no loss today"):
            make_runner(loss=fail, hooks=[Opens(Keeps())]).train()
        assert opened == []
        make_runner(hooks=[Opens(Keeps())], log_interval=4).train()
        assert opened == [4]

    def test_one_that_fails_stops_no_run(self, make_runner):
        kept = Keeps(fails_at=5)
        runner = make_runner(hooks=[LogTo(kept)], log_interval=2)
        with pytest.warns(OptimzooWarning, match="LogTo logs nothing more: .*ValueError: the server is away"):
            runner.train()
        assert runner.finished
        assert [step for step, _ in kept.rows] == [1, 2, 3, 4]

    def test_what_cannot_log_is_refused(self):
        with pytest.raises(ConfigError, match=r"logger: a logger has log\(step, values\) and close\(\), got 3"):
            LogTo(3)


@pytest.mark.parametrize("name", ["WandbHook", "MLflowHook"])
def test_a_library_that_is_missing_is_named_before_anything_is_trained(name, make_runner, monkeypatch):
    library, argument = ("wandb", "project") if name == "WandbHook" else ("mlflow", "experiment")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    with pytest.raises(MissingDependencyError, match=f"{library} is not installed: pip install {library}"):
        make_runner(hooks=[{"type": name, argument: "digits"}])


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_every_row(make_runner, val, tmp_path):
    tracking = pytest.importorskip("mlflow.tracking")
    hooks = [dict(type="MLflowHook", experiment="digits")]
    with pytest.raises(KeyboardInterrupt):
        make_runner(**val, hooks=[*hooks, Stop(7)], log_groups=True).train()
    runner = make_runner(**val, hooks=hooks, log_groups=True, resume=True)
    runner.train()
    client = tracking.MlflowClient(f"sqlite:///{tmp_path / 'run' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    for column, name in (("loss", "loss"), ("lr[base]", "lr/base"), ("val_error", "val_error")):
        found = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)}
        assert found == dict(runner.history.column(column)), column


@pytest.mark.filterwarnings("ignore")
def test_wandb_has_every_row(make_runner, val, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logged = []
    log = wandb.Run.log

    def keep(run, values, step):
        logged.append((step, values))
        log(run, values, step)

    monkeypatch.setattr(wandb.Run, "log", keep)
    runner = make_runner(**val, hooks=[dict(type="WandbHook", project="digits")])
    runner.train()
    assert logged == rows_of(runner)
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    assert file.stat().st_size > 0


class TestNorms:
    def trained(self, make_runner, hooks=({"type": "NormsHook"},), optimizer=None, **settings):
        cfg = dict(optimizer=optimizer or dict(type="SGD", lr=0.1), paramwise_cfg=dict(bias_lr_mult=2.0), **settings)
        runner = make_runner(optim_wrapper=cfg, hooks=list(hooks), log_interval=4)
        runner.train()
        return runner.history

    def test_they_are_there_once_in_a_log_interval(self, make_runner):
        history = self.trained(make_runner, optimizer=dict(type="SGD", lr=0.1, fused=False))
        for kind in ("grad_norm", "update_ratio"):
            assert [n for n in history.columns if kind in n] == [f"{kind}[base]", f"{kind}[bias_lr_mult]"]
        assert [step for step, _ in history.column("grad_norm[base]")] == [4, 8, 12]

    def test_they_are_those_of_a_loop_by_hand(self, make_runner):
        seen = {}

        class Looks(torch.optim.SGD):
            def step(self, closure=None):
                before = [[p.detach().clone() for p in group["params"]] for group in self.param_groups]
                grads = [[p.grad.clone() for p in group["params"]] for group in self.param_groups]
                super().step(closure)
                for name, old, grad, group in zip(("base", "bias_lr_mult"), before, grads, self.param_groups):
                    flat = [torch.cat([t.flatten() for t in each]) for each in (old, grad, group["params"])]
                    ratio = ((flat[2] - flat[0]).norm() / flat[0].norm()).item()
                    seen.setdefault(name, []).append((flat[1].norm().item(), ratio))

        history = self.trained(make_runner, optimizer=dict(type=Looks, lr=0.1), clip_grad=dict(max_norm=0.05))
        for name, values in seen.items():
            for column, place in (("grad_norm", 0), ("update_ratio", 1)):
                found = [value for _, value in history.column(f"{column}[{name}]")]
                assert found == pytest.approx([values[step - 1][place] for step in (4, 8, 12)], rel=1e-5), column

    @pytest.mark.parametrize("settings", [dict(optimizer=dict(type="AdamW", lr=0.1)), dict(flatten=True)])
    def test_a_fused_or_flat_step_has_the_same(self, make_runner, settings):
        other = dict(optimizer=dict(type="SGD", lr=0.1), flatten=False) | settings
        plain = dict(optimizer=other["optimizer"] | dict(fused=False), flatten=False)
        one, two = (self.trained(make_runner, **each, clip_grad=dict(max_norm=0.05)) for each in (plain, other))
        for column in (name for name in one.columns if "[" in name):
            assert dict(two.column(column)) == pytest.approx(dict(one.column(column)), rel=1e-4), column

    def test_updates_that_are_rarer_than_log_intervals_are_measured_when_they_come(self, make_runner):
        history = self.trained(make_runner, accumulative_counts=5)
        assert [step for step, _ in history.column("grad_norm[base]")] == [5, 10, 15]

    def test_they_change_nothing(self, make_runner):
        losses = [self.trained(make_runner, hooks=hooks).column("loss") for hooks in ((), ({"type": "NormsHook"},))]
        assert losses[0] == losses[1]


def test_settings_that_are_tensors_are_logged_as_they_were_and_waited_for_with_the_log_alone(make_runner, monkeypatch):
    waits, now, kept = set(), [0], Keeps()

    class Watch(Hook):
        def before_iter(self, runner, batch):
            now[0] = runner.iter + 1

    def waiting(plain):
        def wait(tensor):
            waits.add(now[0])
            return plain(tensor)

        return wait

    for name in ("item", "__float__"):
        monkeypatch.setattr(torch.Tensor, name, waiting(getattr(torch.Tensor, name)))
    cfg = dict(optimizer=dict(type="AdamW", lr=torch.tensor(0.1), fused=True), paramwise_cfg=dict(bias_lr_mult=2.0))
    schedule = dict(type="LinearLR", start_factor=0.5, by="update", end=9)
    hooks = [Watch(), LogTo(kept), dict(type="NormsHook")]
    make_runner(optim_wrapper=cfg, param_scheduler=schedule, log_groups=True, hooks=hooks, log_interval=15).train()
    for column, factor in (("lr", 1), ("lr[base]", 1), ("lr[bias_lr_mult]", 2)):
        found = [values[column] for _, values in kept.rows]
        assert found == pytest.approx([0.1 * factor * min(0.5 + 0.5 * i / 8, 1) for i in range(15)])
    assert waits <= {0, 5, 10, 15}, "at the ends of epochs"
