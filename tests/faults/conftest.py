"""Fixtures of the tests of faults."""

from ..core.run.network import make_runner
from .data_configs import project

__all__ = ["make_runner", "project"]
