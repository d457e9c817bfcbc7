"""The pictures of the site, drawn by the package itself while MkDocs builds it: `pictures/NAME.png` in a page.

`python docs/pictures.py FOLDER` writes them to a folder, to look at them.
"""

import contextlib
import io
import logging
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

from optimzoo import Runner, build_optim_wrapper, build_param_scheduler, load_config, plot_schedules
from optimzoo.bundled import bundled_schedules
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
    axis.set_xticks(range(len(rates)), ["embed", *(f"layer {number}" for number in range(12)), "head"], rotation=45)
    picture.label()
    return picture


def run() -> Picture:
    """Return the curves of a run: a small network on digits with Lion, and the average of its weights."""
    sys.path.append(str(EXAMPLES / "digits"))
    cfg = load_config(EXAMPLES / "digits" / "lion.toml")
    cfg["hooks"] = [dict(type="EMAHook", decay=0.98)]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        runner = Runner.from_cfg({**cfg, "work_dir": folder, "device": "cpu"})
        runner.train()
        picture = runner.plot()
    picture.suptitle("examples/digits/lion.toml")
    return picture


PICTURES = {"curves": curves, "schedules": composed, "layer-decay": depth, "run": run}


def png(picture: Picture) -> bytes:
    """Return a picture as the content of a file."""
    written = io.BytesIO()
    picture.savefig(written, format="png", dpi=DPI, metadata={"Software": None})
    return written.getvalue()


def on_files(files, config):
    """Add the pictures to the files of the site; MkDocs calls it."""
    from mkdocs.structure.files import File

    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    for name, draw in PICTURES.items():
        files.append(File.generated(config, f"pictures/{name}.png", content=png(draw())))
    return files


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        (folder / f"{name}.png").write_bytes(png(draw()))
