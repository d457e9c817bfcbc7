"""The state of one optimizer for another: what means the same is carried over, and the rest begins anew."""

from optimzoo.transplant.convert import Carried, convert_state
from optimzoo.transplant.saved import read_state

__all__ = ["Carried", "convert_state", "read_state"]
