"""Name an optimizer, a schedule and a parameter rule in a config; get a correct, fast, resumable training step.

Importing this package imports neither torch nor any optimizer library: each name in ``__init__.pyi`` is loaded on its
first use.
"""

import lazy_loader

from optimzoo.bundled import public_names

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=public_names())
