"""The command line: ``optimzoo``, or ``python -m optimzoo``."""

from optimzoo.cli.main import main

__all__ = ["main"]
