import pytest

from optimzoo.flat import step


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Join any two parameters, for models are small here."""
    monkeypatch.setattr(step, "FEWEST", 2)
    monkeypatch.setattr(step, "FEWEST_FUSED", 2)
