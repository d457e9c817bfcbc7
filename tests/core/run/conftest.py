"""Fixtures of the tests of a run."""

import pytest

from optimzoo.names.zoo import plugins

from .network import dataset, error, make_runner
from .plugin import Plugin

__all__ = ["make_runner"]


@pytest.fixture
def val():
    return dict(val_dataloader=dict(dataset=dataset(8), batch_size=8), metrics=error)


@pytest.fixture
def _plugin():
    assert plugins.add(Plugin(), "hooked").status == "loaded"
    yield
    plugins.remove("hooked")
