"""A healthy optimizer, and others that differ from it by one fault each."""

from .forms import *  # noqa: F403
from .healthy import *  # noqa: F403
from .manners import *  # noqa: F403
from .rates_and_states import *  # noqa: F403
