"""The pictures of the site, drawn by the package itself while MkDocs builds it: `pictures/NAME.png` in a page.

`python docs/pictures.py FOLDER` writes them to a folder, to look at them; `make picture` writes that of README,
docs/curves.png.
"""

import contextlib
import io
import logging
import re
import sys
import tempfile
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from optimzoo import Runner, StepOutcome, build_optim_wrapper, build_param_scheduler, load_config, plot_schedules
from optimzoo.bundled import bundled_schedules
from optimzoo.groups.table import group_table
from optimzoo.pictures import DPI, Picture

EXAMPLES = Path(__file__).parent.parent / "examples"
STEPS = 100
CURVES = {
    "Linear": dict(start_factor=0.1, end=40),
    "Constant": dict(factor=0.3, end=40),
    "QuadraticWarmup": dict(end=40),
    "CosineAnnealing": dict(T_max=STEPS),
    "CosineRestart": dict(periods=[20, 30, 50], restart_weights=[1.0, 0.7, 0.5]),
    "Poly": dict(power=0.9, eta_min=0.0, end=STEPS),
    "Exponential": dict(gamma=0.96),
    "Step": dict(step_size=25, gamma=0.5),
    "MultiStep": dict(milestones=[40, 75], gamma=0.3),
    "OneCycle": dict(eta_max=1.0, total_steps=STEPS),
    "WSD": dict(warmup=10, decay=30, end=STEPS),
    "InverseSqrt": dict(warmup=10),
    "Sequence": dict(curves=[dict(type="Linear", start_factor=0.1, steps=20), dict(type="CosineAnnealing", steps=80)]),
    "Lambda": dict(function=lambda step: 0.5 + 0.5 * (-1) ** (step // 25)),
    "ReduceOnPlateau": dict(patience=9, factor=0.5),
}
"""Each curve, with arguments that show what it does."""


def curves() -> Picture:
    """Return every curve over a hundred steps, the learning rate being 1 without it."""
    names = {schedule.name.removesuffix("ParamScheduler") for schedule in bundled_schedules()}
    missing = {name for name in names if not name.endswith(("LR", "Momentum"))} - CURVES.keys()
    if missing:
        raise ValueError(f"there is no picture of {', '.join(missing)}")
    picture = Picture(0)
    picture.set_size_inches(8, 8)
    for axis, (name, arguments) in zip(picture.subplots(5, 3, sharex=True, sharey=True).flat, CURVES.items()):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        (schedule,) = build_param_scheduler(optimizer, dict(type=f"{name}LR", by="iter", **arguments), max_iters=STEPS)
        values = []
        for _ in range(STEPS):
            values.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step(*[{"loss": 1.0}] * schedule.need_val_args)
        axis.plot(values, linewidth=1.5)
        axis.set_title(name, fontsize="medium")
        axis.grid(alpha=0.3)
    return picture


def composed() -> Picture:
    """Return a warm-up and a cosine, with a group whose learning rate is a tenth."""
    optim_wrapper = dict(
        optimizer=dict(type="AdamW", lr=1e-3), paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)})
    )
    schedules = [
        dict(type="LinearLR", start_factor=0.01, by_epoch=False, end="5%"),
        dict(type="CosineAnnealingLR", convert_to_iter_based=True, begin="5%"),
    ]
    return plot_schedules(dict(optim_wrapper=optim_wrapper, param_scheduler=schedules), epoch_length=100, max_epochs=12)


def depth() -> Picture:
    """Return the learning rate of each layer under layer decay."""
    layers = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16) for _ in range(12))
    model = nn.ModuleDict({"embed": nn.Embedding(10, 8), "layers": layers, "head": nn.Linear(8, 2)})
    picture = Picture(1, 2.8)
    (axis,) = picture.panels
    for rate in (0.9, 0.75, 0.5):
        cfg = dict(optimizer=dict(type="AdamW", lr=1e-3), constructor="LayerDecayOptimWrapperConstructor")
        wrapper = build_optim_wrapper(model, dict(cfg, paramwise_cfg=dict(layer_decay_rate=rate)))
        rates = [group["lr"] for group in wrapper.optimizer.param_groups]
        axis.plot(rates, marker="o", markersize=4, label=f"layer_decay_rate={rate}")
    axis.set(xlabel="depth", ylabel="lr", yscale="log")
    names = ["embed", *(f"layer {number}" for number in range(12)), "head"]
    axis.set_xticks(range(len(rates)), names, rotation=45, ha="right", rotation_mode="anchor")
    picture.label()
    return picture


def windows() -> Picture:
    """Return a warm-up by iterations and one by updates under accumulation, where an update is skipped."""
    count, length, skipped = 4, 30, 15
    picture = Picture(1, 2.8)
    (axis,) = picture.panels
    for by in ("iter", "update"):
        model = nn.Linear(1, 1)
        optim_wrapper = build_optim_wrapper(
            model, dict(optimizer=dict(type="SGD", lr=1.0), accumulative_counts=count, nonfinite="skip")
        )
        optim_wrapper.initialize_count_status(model, 0, length)
        schedule = build_param_scheduler(optim_wrapper, dict(type="LinearLR", start_factor=0.1, by=by, end=8))
        rates, outcomes = [], []
        for step in range(length):
            rates.append(optim_wrapper.optimizer.param_groups[0]["lr"])
            loss = model(torch.ones(1, 1)).sum()
            outcomes.append(optim_wrapper.update_params(loss * torch.inf if step == skipped else loss))
            schedule.step(outcomes[-1])
        (line,) = axis.plot(range(1, length + 1), rates, drawstyle="steps-mid", label=f'by="{by}", end=8')
        for outcome, marker in ((StepOutcome.UPDATED, "o"), (StepOutcome.SKIPPED, "X")):
            ends = [step for step, found in enumerate(outcomes) if found is outcome]
            label = outcome.value if by == "update" else None
            places = [step + 1 for step in ends], [rates[step] for step in ends]
            axis.plot(*places, marker, color=line.get_color(), markersize=7, label=label)
    ends = [step + 1 for step, found in enumerate(outcomes) if found is not StepOutcome.ACCUMULATING]
    for begin, end in list(zip([0, *ends], ends))[::2]:
        axis.axvspan(begin + 0.5, end + 0.5, color="black", alpha=0.06, zorder=0)
    axis.set(xlabel=f"iteration, accumulative_counts={count}", ylabel="lr")
    axis.set_xticks([1, *ends])
    axis.grid(False, axis="x")
    picture.label()
    return picture


def groups() -> str:
    """Return the table of groups as a terminal shows it."""
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 64))
    model = nn.ModuleDict({"backbone": backbone, "head": nn.Linear(64, 10)})
    paramwise = dict(
        norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys={"head": dict(lr_mult=10.0, name="the head")}
    )
    cfg = dict(optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05), paramwise_cfg=paramwise)
    optim_wrapper = build_optim_wrapper(model, cfg)
    build_param_scheduler(optim_wrapper, dict(type="LinearLR", start_factor=0.01, by="update", end=10))
    console = Console(record=True, width=100, file=io.StringIO(), force_jupyter=False)
    console.print(group_table(optim_wrapper))
    drawn = console.export_svg(title="print(optim_wrapper.summary())", unique_id="groups")
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # which would be fetched from elsewhere


def run(*hooks: dict) -> Picture:
    """Return the curves of a run: a small network on digits with Lion."""
    sys.path.append(str(EXAMPLES / "digits"))
    cfg = load_config(EXAMPLES / "digits" / "lion.toml")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        runner = Runner.from_cfg({**cfg, "work_dir": folder, "device": "cpu", "hooks": hooks})
        runner.train()
        picture = runner.plot()
    picture.suptitle("examples/digits/lion.toml")
    return picture


def averaged() -> Picture:
    """Return the curves of a run that averages its weights too."""
    return run(dict(type="EMAHook", decay=0.98))


PICTURES = {"curves": curves, "schedules": composed, "layer-decay": depth, "windows": windows, "run": averaged}


def png(picture: Picture) -> bytes:
    """Return a picture as the content of a file, which tells what the panels show."""
    written = io.BytesIO()
    told = {"Software": None, "Description": ", ".join(panel.get_ylabel() for panel in picture.panels)}
    picture.savefig(written, format="png", dpi=DPI, metadata=told)
    return written.getvalue()


def on_files(files, config):
    """Add the pictures to the files of the site; MkDocs calls it."""
    from mkdocs.structure.files import File

    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    for name, draw in PICTURES.items():
        files.append(File.generated(config, f"pictures/{name}.png", content=png(draw())))
    files.append(File.generated(config, "pictures/groups.svg", content=groups()))
    return files


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if sys.argv[2:] == ["curves"]:
        (folder / "curves.png").write_bytes(png(run()))
    else:
        for name, draw in PICTURES.items():
            (folder / f"{name}.png").write_bytes(png(draw()))
        (folder / "groups.svg").write_text(groups(), encoding="utf-8")
