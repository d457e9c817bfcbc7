"""What is written down of the libraries is what they have and say; a bare name has one owner."""

import re
import tomllib
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest

from optimzoo import OPTIMIZERS
from optimzoo_plugins.library import OWNERS, libraries, owners

from .names import PERMISSIVE, found_in, installed, licence_of

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (Path(__file__).parents[2] / "constraints.txt").read_text(), re.M))
EXTRAS = PYPROJECT["optional-dependencies"]


def module_of(plugin):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = installed(plugin)
    return module or pytest.skip(f"the library of {plugin} is not installed")


@pytest.mark.parametrize("plugin", libraries())
def test_the_names_written_down_are_those_that_the_library_has(plugin):
    module = module_of(plugin)
    assert list(found_in(plugin, module)) == libraries()[plugin]["names"], "run: make names"


@pytest.mark.parametrize("plugin", libraries())
def test_the_licence_written_down_is_that_of_the_metadata_and_the_file(plugin):
    module_of(plugin)
    row = libraries()[plugin]
    here = version(row["distribution"]).partition("+")[0]
    if here not in (row["version"], PINS.get(row["distribution"].replace("_", "-").lower())):
        pytest.skip(f"the licences are those of {row['distribution']} {row['version']}, which constraints.txt has")
    assert row["licence"] == licence_of(row["distribution"]), "run: make names"
    assert all(e.licence == row["licence"] for e in OPTIMIZERS.entries() if e.plugin == plugin)


def test_the_extra_all_installs_libraries_under_permissive_licences_only():
    named = {extra for line in EXTRAS["all"] for extra in re.search(r"\[(.*)\]", line)[1].split(",")}
    by_extra = {row.get("extra", row["distribution"]): row["licence"] for row in libraries().values()}
    assert named <= by_extra.keys()
    for extra in named:
        assert set(re.split(r" AND ", by_extra[extra])) <= PERMISSIVE, extra
    assert "adam-mini" not in named  # its metadata say MIT, its licence file CC BY 4.0


def test_every_extra_that_an_error_names_exists():
    assert {e.extra for e in OPTIMIZERS.entries() if e.distribution == "optimzoo" and e.extra} <= EXTRAS.keys()


def test_emerging_optimizers_is_pinned():
    assert EXTRAS["emerging-optimizers"] == ["emerging-optimizers==0.3.0; python_version >= '3.12'"]


def test_no_bare_name_differs_from_another_by_its_case_only():
    bare = [name for name in OPTIMIZERS if "." not in name and name != "Lamb"]  # OpenMMLab's, beside bitsandbytes' LAMB
    assert len({name.lower() for name in bare}) == len(bare)


@pytest.mark.parametrize(
    ("name", "plugin"),
    [
        ("Adafactor", "transformers"),
        ("AdamW", "torch"),
        ("Lion", "lion"),
        ("LAMB", "bitsandbytes"),
        ("Muon", "torch"),
        ("MADGRAD", "madgrad"),
        ("Prodigy", "prodigyopt"),
        ("SOAP", "pytorch_optimizer"),
        ("CAME", "came_pytorch"),
        ("FlashAdamW", "flashoptim"),
        ("Adam8bit", "bitsandbytes"),
    ],
)
def test_a_bare_name_belongs_to_its_author_then_to_who_maintains_it(name, plugin):
    assert OPTIMIZERS.entry(name).plugin == plugin
    assert owners()[name.lower()] == plugin
    assert plugin in OWNERS


@pytest.mark.parametrize("name", ["SGDW", "Lookahead", "AdaBelief"])
def test_the_names_of_an_unmaintained_library_are_qualified(name):
    assert OPTIMIZERS.entry(name).plugin != "torch_optimizer"
    assert OPTIMIZERS.entry(f"torch_optimizer.{name}").plugin == "torch_optimizer"


def test_a_missing_library_says_its_own_extra_and_none_made_of_the_name():
    assert OPTIMIZERS.entry("timm.Muon").install == "pip install 'optimzoo[timm]'"
    assert OPTIMIZERS.entry("SCION").install == "pip install 'optimzoo[pytorch-optimizer]'"
