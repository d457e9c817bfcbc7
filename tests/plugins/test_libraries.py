"""What the bundled plugins say of their libraries is what the libraries have."""

import inspect

import pytest
import torch

from optimzoo import OPTIMIZERS


def entries(plugin):
    return {entry.name: entry for entry in OPTIMIZERS.entries() if entry.plugin == plugin}


def classes_of(module):
    return {
        name
        for name, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, torch.optim.Optimizer) and cls is not torch.optim.Optimizer
    }


def test_every_concrete_optimizer_of_torch_is_found():
    assert set(entries("torch")) == classes_of(torch.optim)


def test_torchs_optimizers_are_described_by_their_own_first_sentence():
    adamw = entries("torch")["AdamW"]
    assert adamw.about.startswith("AdamW algorithm, where weight decay")
    assert adamw.paper == "https://arxiv.org/abs/1711.05101"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_optimizer_of_bitsandbytes_is_written_down():
    import bitsandbytes

    assert set(entries("bitsandbytes")) == classes_of(bitsandbytes.optim)


def test_the_names_that_bitsandbytes_shares_go_by_mmengines_alias():
    assert OPTIMIZERS.entry("bnb_Adam").target == "bitsandbytes.optim:Adam"
    assert OPTIMIZERS.entry("Adam").target == "torch.optim:Adam"
    assert OPTIMIZERS.entry("Lion").target == "lion_pytorch:Lion"


def test_every_optimizer_of_dadaptation_is_written_down():
    import dadaptation

    assert set(entries("dadaptation")) == classes_of(dadaptation)


@pytest.mark.parametrize(
    "missing", [(), ("bitsandbytes", "transformers"), ("transformers", "lion_pytorch", "dadaptation", "sophia")]
)
def test_a_bare_name_means_the_same_whatever_is_installed(missing, run):
    code = f"""
import sys
for name in {missing}:
    sys.modules[name] = None
from optimzoo import OPTIMIZERS
from optimzoo.errors import MissingDependencyError
print({{n: OPTIMIZERS.entry(n).target for n in OPTIMIZERS}})
print(OPTIMIZERS.get("TorchAdafactor").__module__, OPTIMIZERS.get("torch.Adafactor").__module__)
try:
    print(OPTIMIZERS.get("Adafactor").__module__)
except MissingDependencyError as error:
    print(error.install)
"""
    names, torchs, adafactor = run("-c", code).stdout.splitlines()[-3:]
    assert names == str({n: OPTIMIZERS.entry(n).target for n in OPTIMIZERS})
    assert torchs == "torch.optim torch.optim"
    expected = "pip install 'optimzoo[transformers]'" if "transformers" in missing else "transformers.optimization"
    assert adafactor == expected
