"""A stand-in with the interface that apex.amp documents."""

import sys
from contextlib import contextmanager
from types import ModuleType

import pytest


class FakeAmp(ModuleType):
    """Scales by 4; an overflow replaces the optimizer's step for one call, as apex does."""

    def __init__(self):
        super().__init__("apex.amp")
        self.initialized = []
        self.state = {"loss_scaler0": {"loss_scale": 4.0, "unskipped": 0}}

    def initialize(self, model, optimizer, **kwargs):
        self.initialized.append((model, kwargs))
        return model, optimizer

    @contextmanager
    def scale_loss(self, loss, optimizer):
        yield loss * 4
        grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
        for grad in grads:
            grad /= 4
        if not all(grad.isfinite().all() for grad in grads):
            real = optimizer.step

            def skip_step(closure=None):
                optimizer.step = real

            optimizer.step = skip_step

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        if not self.initialized:
            raise RuntimeError("amp.load_state_dict comes after amp.initialize")
        self.state = state


@pytest.fixture
def amp(monkeypatch):
    fake, package = FakeAmp(), ModuleType("apex")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "apex", package)
    monkeypatch.setitem(sys.modules, "apex.amp", fake)
    return fake
