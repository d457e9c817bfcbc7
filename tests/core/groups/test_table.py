import pytest
import torch
from matplotlib.image import imread
from rich.console import Console
from torch import nn

from optimzoo import OptimWrapper, OptimWrapperDict, build_optim_wrapper, build_param_scheduler
from optimzoo.groups.table import group_names
from optimzoo.inspect import group_rows, group_table, plot_history
from optimzoo.run import History


def test_a_row_tells_what_a_group_holds_and_why(model):
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type="AdamW", lr=0.1, weight_decay=0.5),
            paramwise_cfg=dict(norm_decay_mult=0, custom_keys={"4.": dict(lr_mult=2.0, amsgrad=True)}),
        ),
    )
    build_param_scheduler(wrapper, dict(type="LinearLR", end=5))
    plain, norms, head = group_rows(wrapper)
    assert (plain.tensors, plain.elements, plain.initial_lr, plain.weight_decay) == (2, 40, 0.1, 0.5)
    assert (norms.rules, norms.weight_decay, norms.example) == (("norm_decay_mult",), 0.0, "1.weight")
    assert (head.initial_lr, head.settings) == (0.2, {"amsgrad": True})
    assert (plain.lr, head.lr) == (0.1 / 3, 0.2 / 3)  # what the schedule has made of it
    shown = str(wrapper.summary())
    assert "elements   lr (initial)  decay" in shown
    assert "40  0.03333 (0.1)    0.5" in shown


def test_a_table_without_a_schedule_has_one_column_of_learning_rates(model):
    shown = str(build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1))).summary())
    assert "initial" not in shown


def test_the_table_names_rules_and_settings(model):
    cfg = dict(
        optimizer=dict(type="SGD", lr=0.1), paramwise_cfg=dict(custom_keys={"4.": dict(lr_mult=2.0, maximize=True)})
    )
    console = Console(width=80)
    with console.capture() as capture:
        console.print(group_table(build_optim_wrapper(model, cfg)))
    shown = capture.get()
    assert "SGD: 2 parameter groups" in shown
    assert "custom_keys['4.']" in shown
    assert "maximize=True" in shown


def test_the_table_of_a_large_model_fits_on_80_columns():
    blocks = nn.ModuleList(nn.TransformerEncoderLayer(512, 8) for _ in range(2))
    model = nn.ModuleDict({"a_backbone_with_a_long_name": nn.ModuleDict({"layers": blocks})})
    cfg = dict(
        optimizer=dict(type="AdamW", lr=1.25e-4, weight_decay=0.05),
        constructor="LayerDecayOptimWrapperConstructor",
        paramwise_cfg=dict(
            layer_decay_rate=0.65, norm_decay_mult=0.0, custom_keys={"linear": dict(eps=1e-6, amsgrad=True)}
        ),
    )
    console = Console(width=80)
    with console.capture() as capture:
        console.print(group_table(build_optim_wrapper(model, cfg)))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    for word in (
        "8.125e-05",
        "0.05",
        "2,099,712",
        "depth 1 of 3, norm_decay_mult",
        "linear1.weight",
        "eps=1e-06, amsgrad=True",
    ):
        assert any(word in line for line in lines), word


def test_what_an_optimizer_counts_in_its_groups_is_no_setting(model):
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="DAdaptAdam", lr=1.0)))
    wrapper.update_params(model(torch.ones(2, 1, 4, 4)).square().sum())
    assert wrapper.optimizer.param_groups[0]["k"] == 1
    (row,) = group_rows(wrapper)
    assert row.settings == {}


def test_a_summary_is_text_and_in_a_notebook_a_table(model):
    cfg = dict(optimizer=dict(type="AdamW", lr=0.1), paramwise_cfg=dict(rules=[dict(match="4.*", eps=1e-3)]))
    wrapper = build_optim_wrapper(model, cfg)
    lines = str(wrapper.summary()).splitlines()
    assert lines[0] == "AdamW: 2 parameter groups, fused=True"
    assert [line.split()[:6] for line in lines[3:]] == [
        ["0", "6", "80", "0.1", "0.01", "0.weight"],
        ["1", "2", "34", "0.1", "0.01", "4.weight"],
        ["rules[0]"],
        ["eps=0.001"],
    ]
    shown = wrapper.summary()._repr_html_()
    assert shown.startswith("<table><caption>AdamW: 2 parameter groups, fused=True</caption><thead><tr><th>group</th>")
    assert '<td style="text-align: left">4.weight<br>rules[0]<br>eps=0.001</td></tr></tbody></table>' in shown
    several = OptimWrapperDict(a=wrapper, b=wrapper)
    assert str(several.summary()).count("parameter groups") == several.summary()._repr_html_().count("<table>") == 2
    assert str(several.summary()).startswith("a: AdamW: 2 parameter groups")


def test_what_is_printed_of_a_wrapper_fits_on_a_screen():
    """Of a model of many groups, too, and of an optimizer that keeps lists in a group."""
    model = nn.ModuleList(nn.TransformerEncoderLayer(4, 2, 8) for _ in range(48))
    paramwise = dict(merge_groups=False, custom_keys={"47.": dict(lr_mult=0.5)}, norm_decay_mult=0.0)
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="AdamW", lr=0.1), paramwise_cfg=paramwise))
    *_, line = repr(wrapper).splitlines()
    assert line.startswith("AdamW: 576 parameter groups, fused=True, 576 tensors, 8,256 elements, lr 0.05 to 0.1, ")
    assert line.endswith(", weight_decay 0 to 0.01")
    wrapper.optimizer.param_groups[0]["lr"] = [0.1, 0.2]
    assert "lr [0.1, 0.2]" in repr(wrapper)
    assert len(repr(wrapper).splitlines()) == 4


def test_groups_are_named_by_part_and_rules_and_by_a_parameter_where_two_share_a_name():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2))
    adamw = dict(type="AdamW", lr=0.1)

    def names(optimizer, **paramwise):
        return group_names(build_optim_wrapper(model, dict(optimizer=optimizer, paramwise_cfg=paramwise)))

    assert names(adamw) == ["base"]
    assert names(adamw, norm_decay_mult=0.0) == ["base", "norm_decay_mult"]
    assert names(adamw, rules=[dict(match="2.*", lr_mult=2.0, name="last")]) == ["base", "last"]
    assert names(adamw, merge_groups=False)[:2] == ["base", "base (0.bias)"]
    parts = dict(type="Muon", lr=0.1, rest=adamw)
    assert names(parts, norm_decay_mult=0.0) == ["Muon", "rest", "rest: norm_decay_mult"]
    assert group_names(OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))) == ["base"]


def test_groups_without_names_or_decay_have_a_row_too(model):
    (row,) = group_rows(OptimWrapper(torch.optim.Rprop(model.parameters())))
    assert (row.weight_decay, row.example) == (None, "")


def test_the_curves_are_a_picture_with_a_panel_for_the_losses_and_for_each_other_value(tmp_path):
    history = History(tmp_path / "metrics.csv")
    for step in range(1, 20):
        history.append({"iter": step, "epoch": 1, "loss": 1 / step, "lr": 0.1 * step})
    history.append({"iter": 19, "epoch": 1, "val_loss": 0.5, "val_accuracy": 0.9})
    plot_history(history).savefig(tmp_path / "few.png")
    history.append({"iter": 20, "epoch": 1, "loss": 0.05, "lr": 1.0, "momentum": 0.9})
    plot_history(history).savefig(tmp_path / "more.png")
    heights = [imread(tmp_path / name).shape[0] for name in ("few.png", "more.png")]
    assert heights[1] - heights[0] == 300, "a panel more"


def test_no_values_make_an_empty_picture(tmp_path):
    assert plot_history(History(tmp_path / "metrics.csv"), "nothing yet").panels == []


def test_a_picture_of_a_run_numbers_the_epochs_and_smooths_the_loss(tmp_path):
    history = History(tmp_path / "metrics.csv")
    for step in range(1, 101):
        history.append({"iter": step, "epoch": (step + 24) // 25, "loss": 1 + step % 2, "lr": 0.1})
    picture = plot_history(history, "a run")
    losses, _ = picture.panels
    mean, raw = (line.get_ydata() for line in losses.get_lines())
    assert (raw == [1 + step % 2 for step in range(1, 101)]).all()
    assert list(mean[3:]) == [1.5] * 97
    (above,) = losses.child_axes
    assert [(at, label.get_text()) for at, label in zip(above.get_xticks(), above.get_xticklabels())] == [
        (25 * epoch, str(epoch)) for epoch in (1, 2, 3, 4)
    ]


def test_curves_that_are_the_same_are_one_with_all_names(tmp_path):
    history = History(tmp_path / "metrics.csv")
    for step in range(1, 9):
        rates = {"lr": step, "lr[base]": step, "lr[norms]": step, "lr[head]": 2 * step}
        history.append({"iter": step, "epoch": 1, **rates})
    (panel,) = plot_history(history).panels
    assert [line.get_label() for line in panel.get_lines()] == ["lr, [base], [norms]", "lr[head]"]


def test_a_value_that_is_no_number_is_left_out_of_the_mean(tmp_path):
    history = History(tmp_path / "metrics.csv")
    for step in range(1, 101):
        history.append({"iter": step, "epoch": 1, "grad_norm": float("inf") if step == 10 else 2.0})
    mean, _ = (line.get_ydata() for line in plot_history(history).panels[0].get_lines())
    assert list(mean) == [2.0] * 100


@pytest.mark.parametrize("label", ["depth", "depth 1 of 9, depth 1 of 9, norm_decay_mult", "a" * 90])
def test_many_curves_are_named_below_their_panel_and_have_a_colour_each(label, tmp_path):
    history = History(tmp_path / "metrics.csv")
    history.append({"iter": 1, "epoch": 1, "lr": 7.0, **{f"lr[{label} {n}]": 0.1 * n for n in range(20)}})
    picture = plot_history(history)
    (panel,) = picture.panels
    picture._repr_png_()
    legend = panel.get_legend()
    assert legend.get_window_extent().y1 < panel.get_window_extent().y0
    assert min(legend.get_window_extent().y0, legend.get_window_extent().x0) > 0
    assert legend.get_window_extent().x1 < picture.bbox.x1
    assert len({tuple(line.get_color()) for line in panel.get_lines()}) == 21


FRESH = """
import sys, tempfile
from pathlib import Path
from optimzoo import plot_schedules
from optimzoo.inspect import plot_history
from optimzoo.run import History
history = History(Path("metrics.csv"))
history.append({"iter": 1, "epoch": 1, "loss": 1.0})
cfg = dict(optim_wrapper=dict(optimizer=dict(type="SGD", lr=1.0)), param_scheduler=dict(type="StepLR", step_size=2))
for picture in (plot_history(history), plot_schedules(cfg, epoch_length=1, max_epochs=9)):
    print(picture._repr_png_()[:8])
print("matplotlib.pyplot" in sys.modules)
"""


def test_a_fresh_kernel_shows_the_pictures_without_pyplot(run):
    """IPython shows what has the method ``_repr_png_``, whatever else is set up."""
    assert run("-c", FRESH).stdout.splitlines() == [str(b"\x89PNG\r\n\x1a\n")] * 2 + ["False"]


def test_the_title_says_which_groups_a_fused_kernel_steps():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    adamw = dict(type="AdamW", lr=0.1)
    told = {
        "AdamW: 1 parameter group, fused=True": adamw,
        "AdamW: 1 parameter group": dict(adamw, fused=False),
        "Parts: 2 parameter groups, fused=True for rest": dict(type="Muon", lr=0.1, rest=adamw),
    }
    assert [group_table(build_optim_wrapper(model, dict(optimizer=cfg))).title for cfg in told.values()] == list(told)
