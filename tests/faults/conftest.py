"""Fixtures of the tests of faults."""

from ..core.run.network import make_runner

__all__ = ["make_runner"]
