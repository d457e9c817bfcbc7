"""The settings of one optimizer under which it steps as another, with the libraries themselves."""

import json

import pytest
import torch
from torch.optim import SGD

from optimzoo import OPTIMIZERS
from optimzoo.errors import ConfigError
from optimzoo.vetting import translate
from optimzoo.vetting.translate import _Search


class Averaged(SGD):
    """SGD with an average of the gradients for a momentum, from zero on, so that its steps are (1 - momentum) times."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - group["momentum"])
                p.data.mul_(1 - group["lr"] * group["weight_decay"]).add_(mean, alpha=-group["lr"])


class Unscaled(SGD):
    """SGD that decays by weight_decay itself, or, if it is told so, by the usual product with the rate."""

    def __init__(self, params, lr=0.1, weight_decay=0.0, times_lr=False):
        super().__init__(params, lr, weight_decay=weight_decay)
        self.times_lr = times_lr

    def step(self, closure=None):
        for group in self.param_groups:
            decay = group["weight_decay"] * (group["lr"] if self.times_lr else 1.0)
            for p in group["params"]:
                p.data.mul_(1 - decay).add_(p.grad, alpha=-group["lr"])


class ByRows(SGD):
    """SGD with a factor that depends on the shape."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(p.grad, alpha=-group["lr"] * len(p) ** 0.5)


class Heavy(SGD):
    """SGD whose momentum counts twice in the second update."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                kept = self.state[p].get("kept", torch.zeros_like(p))
                self.state[p]["kept"] = kept * group["momentum"] * 2 + p.grad
                p.data.add_(self.state[p]["kept"], alpha=-group["lr"])


AGREE = [
    ("Muon", dict(lr=0.02), "pytorch_optimizer.Muon", dict(lr=0.02, weight_decay=0.1)),
    (
        "Muon",
        dict(lr=2e-3, adjust_lr_fn="match_rms_adamw"),
        "pytorch_optimizer.Muon",
        dict(lr=2e-3, weight_decay=0.1, use_adjusted_lr=True),
    ),
    ("pytorch_optimizer.Muon", dict(lr=0.03, momentum=0.9), "Muon", dict(lr=0.03, momentum=0.9, weight_decay=0.0)),
    (
        "pytorch_optimizer.Muon",
        dict(use_adjusted_lr=True, weight_decay=0.1),
        "Muon",
        dict(lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ),
    ("Muon", dict(lr=0.02), "SingleDeviceMuon", dict(lr=0.02, weight_decay=0.1)),
    ("AdamW", {}, "optimi.AdamW", dict(lr=1e-3, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8)),
    ("AdamW", {}, "bitsandbytes.AdamW", dict(lr=1e-3, weight_decay=0.01)),
    ("AdamW", dict(lr=3e-4), "pytorch_optimizer.AdamW", dict(lr=3e-4, weight_decay=0.01)),
    (
        "optimi.AdamW",
        dict(lr=1e-3, decouple_lr=True, weight_decay=1e-5),
        "AdamW",
        dict(lr=1e-3, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-6),
    ),
    ("Lion", dict(weight_decay=0.3), "pytorch_optimizer.Lion", dict(lr=1e-4, weight_decay=0.3)),
    ("Lion", dict(lr=3e-4, weight_decay=0.1), "bitsandbytes.Lion", dict(lr=3e-4, weight_decay=0.1)),
    ("torch.Adafactor", dict(lr=5e-3), "Adafactor", dict(lr=5e-3, weight_decay=0.0, relative_step=False)),
    (
        "SGD",
        dict(lr=0.1, momentum=0.9, weight_decay=1e-3),
        "pytorch_optimizer.SGDW",
        dict(lr=0.1, momentum=0.9, weight_decay=1e-3, weight_decouple=False),
    ),
    (
        "Adafactor",
        dict(lr=0.01, relative_step=False),
        "pytorch_optimizer.AdaFactor",
        dict(lr=0.01, weight_decay=0.0, relative_step=False, betas=(None, 0.999)),
    ),
    (
        "openmmlab.Lamb",
        dict(lr=1e-3, max_grad_norm=None, bias_correction=False),
        "torch_optimizer.Lamb",
        dict(lr=1e-3, weight_decay=0.01, clamp_value=float("inf")),
    ),
    (SGD, dict(lr=0.1, momentum=0.9), Averaged, dict(lr=1.0, momentum=0.9, weight_decay=0)),
    ("AdamW", dict(lr=0.1), "optimi.AdamW", dict(lr=0.1, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8)),
    ("pytorch_optimizer.SGDW", dict(lr=0.25, weight_decay=0.04), Unscaled, dict(lr=0.25, weight_decay=0.01)),
    (Unscaled, dict(lr=0.25, weight_decay=0.01), Unscaled, dict(lr=0.25, weight_decay=0.01)),
]
DIFFER = [
    ("AdamW", {}, "SGD", "the first update has another direction"),
    ("SGD", dict(lr=0.1), ByRows, "a factor that depends on the shape: 8 for (64, 64), 11.3 for (128, 32)"),
    (SGD, dict(lr=0.1, momentum=0.9), Heavy, "what they keep of earlier gradients differs"),
    (SGD, dict(lr=0.1, momentum=0.9), Heavy, "With momentum=0 in both the steps agree"),
    (
        "SGD",
        dict(lr=0.1, momentum=0.9, weight_decay=0.1),
        Averaged,
        "without a decay the steps agree; with one, the first",
    ),
    ("Adam", dict(weight_decay=0.1), "AdamW", "The decay of Adam is coupled, that of AdamW lr·wd·w"),
    ("RMSprop", {}, "heavyball.RMSprop", "a bias correction, a warm-up or a clip"),
    (
        "openmmlab.Lamb",
        {},
        "bitsandbytes.LAMB",
        "one of the two clips or scales them; and then the ratio of their sizes",
    ),
]


@pytest.mark.parametrize(("source", "given", "target", "settings"), AGREE)
def test_the_settings_that_are_found_give_the_same_steps(source, given, target, settings):
    found = translate(source, target, **given)
    assert found.agrees
    assert found.settings == settings
    assert all(abs(ratio - 1) < 0.015 and cosine > 0.998 for ratio, cosine in found.shapes.values())
    assert len(found.shapes) == 5
    assert moved(target, found.groups, found.settings) == pytest.approx(
        moved(source, groups_of(source), given), rel=0.02
    )


def groups_of(name):
    return dict(use_muon=True) if name == "pytorch_optimizer.Muon" else {}


def moved(name, groups, settings):
    """Where three updates take some numbers of a matrix, with the class called by hand."""
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 40 * 20).reshape(40, 20).cos() * 0.1)
    optimizer = OPTIMIZERS.get(name)([{"params": [weight], **groups}], **settings)
    start = weight.detach().clone()
    for k in range(3):
        weight.grad = torch.randn(40, 20, generator=torch.Generator().manual_seed(k)) * (k + 1)
        optimizer.step()
    return float((weight.detach() - start).norm())


@pytest.mark.parametrize(("source", "given", "target", "why"), DIFFER)
def test_where_no_settings_do_the_difference_is_named(source, given, target, why):
    found = translate(source, target, **given)
    assert not found.agrees
    assert why in found.difference


def test_what_groups_have_to_say_is_told_and_can_be_given():
    found = translate("Muon", "pytorch_optimizer.Muon")
    assert found.groups == {"use_muon": True}
    as_adamw = translate("pytorch_optimizer.Muon", "AdamW", use_muon=False, adamw_lr=1e-3)
    assert "AdamW" in as_adamw.line


def test_rounding_in_the_step_itself_is_a_note():
    (rounding, *_) = translate("Muon", "SingleDeviceMuon").notes
    assert "no more than twice what rounding its gradients to bfloat16 changes" in rounding


def test_a_class_that_a_build_refuses_is_told_so():
    (refused,) = translate("torch_optimizer.SGDW", "torch_optimizer.SGDW", lr=0.1).notes
    assert refused.startswith("a build refuses torch_optimizer.SGDW, which computes something else than its name says")


def test_eps_at_another_place_is_a_note():
    found = translate("AdamW", "heavyball.AdamW")
    assert found.agrees
    assert "where gradients are as small as eps=1e-08" in found.notes[0]


def test_of_two_changes_of_which_either_can_be_taken_back_it_is_the_first_in_every_process():
    search = object.__new__(_Search)
    search.copied, search.best = {}, dict.fromkeys("hgfedcba", 1.0)
    search.agrees = lambda settings: len(settings) == 7
    search._forget_what_is_idle()
    assert list(search.best) == list("gfedcba")


@pytest.mark.parametrize(
    ("source", "target", "given", "why"),
    [
        ("AdamW", "SparseAdam", {}, "SparseAdam takes sparse gradients"),
        ("AdamW", "AdamW", dict(rl=0.1), "no argument 'rl'"),
        ("AdamW", "Lookahead", {}, "Lookahead takes a model or another optimizer"),
        ("optimi.AdamW", "AdamW", {}, "needs a value for 'lr'"),
    ],
)
def test_what_cannot_be_compared_is_an_error(source, target, given, why):
    with pytest.raises(ConfigError, match=why):
        translate(source, target, **given)


def test_the_command_prints_the_line_and_a_table_and_exits_with_1_where_no_settings_do(optimzoo):
    done = optimzoo("translate", "AdamW", "optimi.AdamW", "--with", "lr=2e-3")
    assert "dict(type='optimi.AdamW', lr=0.002, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-08)" in done.stdout
    assert "│ 16 x 8 x 3 x 3 │" in done.stdout
    failed = optimzoo("translate", "AdamW", "SGD", "--json", check=False)
    told = json.loads(failed.stdout)
    assert (failed.returncode, told["agrees"], len(told["shapes"])) == (1, False, 5)
