"""Faults of real libraries that were found by hand before: the measurements must find each by themselves."""

import pytest
import torch

from optimzoo.vetting import vet

KNOWN = {
    ("torch.optim:Muon", "dtypes.bfloat16"): "another state with nesterov=False",
    ("torch.optim:Rprop", "lr"): "ignored",
    ("torch.optim:ASGD", "lr"): "late",
    ("torch.optim:SGD", "gradients.late"): "fails with fused=True",
    ("bitsandbytes.optim:LAMB8bit", "shapes.size"): "changes",
    ("bitsandbytes.optim:LARS8bit", "shapes.size"): "changes",
    ("bitsandbytes.optim:Adam", "arguments.effect"): "amsgrad",
    ("bitsandbytes.optim:Adam8bit", "shapes.layout"): "undoes transposed channels_last",
    ("torch_optimizer:SGDW", "decay"): "a constant",
    ("pytorch_optimizer:SOAP", "lr.tensor"): "written into",
    ("pytorch_optimizer:ASGD", "lr.written"): "written",
    ("pytorch_optimizer:AdamS", "decay.frozen"): "grow",
    ("pytorch_optimizer:AdaMuon", "kernels"): "foreach differs",
    ("schedulefree:RAdamScheduleFree", "lr.tensor"): "other numbers",
    ("heavyball:Scion", "lr.zero"): "moves",
    ("adam_atan2_pytorch.adopt:Adopt", "decay"): "relative to the first lr",
    # those below are not among the libraries that the tests install
    ("timm.optim:Adahessian", "resume"): "attributes",
    ("grokadamw:GrokAdamW", "resume"): "inexact",
    ("ivon:IVON", "resume"): "attributes",
    ("parameterfree:KT", "resume"): "attributes",
    ("core_optimizer:CoRe", "lr"): "ignored",
    ("mechanic_pytorch:mechanize", "manners.error"): "autograd stays off",
    ("kron_torch:Kron", "state.kinds"): "strings",
}
MENDED = {("torch.optim:Muon", "dtypes.bfloat16"): "2.15"}
"""Since which torch."""
TWINS = [
    ("bitsandbytes.optim:Adam", "AdamW"),  # which decays otherwise, by its name
    ("nadir:Adagrad", "SGD"),
    ("nadir:RMSProp", "SGD"),
]


@pytest.mark.parametrize(("target", "fact"), KNOWN)
def test_a_known_fault_is_found(target, fact):
    pytest.importorskip(target.partition(":")[0])
    found = vet(target, only=[fact])[fact]
    if torch.__version__ >= MENDED.get((target, fact), "3"):
        assert found.verdict == "fine"
    else:
        assert (found.verdict, found.value) == ("fault", KNOWN[target, fact])


@pytest.mark.parametrize(("target", "other"), TWINS)
def test_another_class_that_takes_the_same_steps_is_named(target, other):
    pytest.importorskip(target.partition(":")[0])
    assert other in vet(target, only=["trains.twin"])["trains.twin"].value.split()
