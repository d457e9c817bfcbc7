"""The optimizer wrappers of a run by name, be there one or several."""

from __future__ import annotations

from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict


def members(optim_wrapper: BaseOptimWrapper | OptimWrapperDict) -> dict[str, BaseOptimWrapper]:
    """Return the members of an OptimWrapperDict, or the one wrapper under an empty name."""
    return dict(optim_wrapper.items()) if isinstance(optim_wrapper, OptimWrapperDict) else {"": optim_wrapper}


def by_prefix(optim_wrapper: BaseOptimWrapper | OptimWrapperDict) -> dict[str, BaseOptimWrapper]:
    """Return the members by what their values are logged with before their names: ``generator.``, or nothing."""
    return {f"{name}." if name else "": member for name, member in members(optim_wrapper).items()}


def update_counts(optim_wrapper: BaseOptimWrapper | OptimWrapperDict) -> dict[str, int]:
    """Return the updates of each member by its prefix; where one skips its own, another may have made one."""
    return {prefix: member.update_count for prefix, member in by_prefix(optim_wrapper).items()}


def place_of(name: str) -> str:
    """Return where in a config the member of that name is described."""
    return f"optim_wrapper.{name}" if name else "optim_wrapper"
