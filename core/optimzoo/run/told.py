"""What a run tells of itself where it is printed, and in a notebook."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from optimzoo.groups.table import in_short
from optimzoo.run.hooks.checkpoint import CheckpointHook
from optimzoo.run.hooks.run import Run
from optimzoo.run.store.checkpoint import checkpoints_in
from optimzoo.run.store.history import MEASURED, column_of
from optimzoo.wrappers.members import members


def run_table(run: Run) -> Table:
    """Return what is trained by what, how far it is, the last value of each metric, the best, and where it all is."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, show_header=False, padding=(0, 1, 0, 0))
    elements = sum(parameter.numel() for parameter in run.model.parameters())
    table.add_row("model", f"{type(run.model).__name__}, {elements:,} parameters on {run.device}")
    for name, member in members(run.optim_wrapper).items():
        table.add_row(name or "optimizer", in_short(member))
    length = f"epoch {run.epoch} of {run.plan.max_epochs}, " if run.plan.by_epoch else ""
    table.add_row("trained", f"{length}{run.iter} iterations" + (f" of {run.max_iters}" if run.max_iters else ""))
    for name in run.history.columns:
        if name == "loss" or MEASURED.match(name):
            table.add_row("last loss" if name == "loss" else name, f"{run.history.column(name)[-1][1]:.4g}")
    for saver in run.hooks:
        if isinstance(saver, CheckpointHook) and saver.best is not None and saver.best_value is not None:
            name, best = column_of(saver.best), saver.best_value
            ends = run.history.epoch_ends().items()
            steps = [step for step, value in run.history.column(name) if value == best][:1]
            at = [f" of epoch {min(epoch for epoch, end in ends if end >= step)}, step {step}" for step in steps]
            table.add_row("best", "".join((f"best.pt, {name} {best:.4g}", *at)))
    files = [run.work_dir / name for name in ("curves.png", "metrics.csv", "config.yaml")]
    left = [file.name for file in (*files, *checkpoints_in(run.work_dir)[-1:]) if file.exists()]
    table.add_row("results", f"{run.work_dir}{': ' * bool(left)}{', '.join(left)}")
    return table
