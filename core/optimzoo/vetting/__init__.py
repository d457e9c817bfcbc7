"""What an optimizer really does: facts about any class, each measured on a CPU in a process of its own.

    from optimzoo.vetting import vet
    assert not vet("mine:Wobble", lr=1e-2).faults

``record`` says what a fact is, ``trial`` is the bench, ``way`` finds how a class is built and driven, ``child`` is the
process; ``translate`` compares two classes; each of the other modules measures one
kind of fact. A new one is a function under ``@measures``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"record": ["Fact", "Report"], "report": ["vet"], "translate": ["Translation", "translate"]}
)
