"""The curves, each as a schedule of the learning rate, of the momentum, and of any key."""

from optimzoo.schedules.curves.annealing import *  # noqa: F403
from optimzoo.schedules.curves.heights import *  # noqa: F403
from optimzoo.schedules.curves.plateau import *  # noqa: F403
from optimzoo.schedules.curves.sequence import *  # noqa: F403
