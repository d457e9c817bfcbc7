"""Steps over buffers of which many small parameters are parts."""

from optimzoo.flat.step import Flat

__all__ = ["Flat"]
