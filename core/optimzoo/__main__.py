"""``python -m optimzoo`` is the command ``optimzoo``."""

from optimzoo.cli import main

main()
