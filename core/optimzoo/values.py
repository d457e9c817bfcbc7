"""Checks of a value from a config: each returns it, or says what is wanted instead."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from optimzoo.errors import ConfigError, did_you_mean, join_path, near, shown

T = TypeVar("T")

MARKS = ("_scope_", "_delete_")
"""Keys that mmengine leaves in a config: the registry to look in, a merge that is done. Nothing is built of them."""


RANGES: dict[str, float] = {"lr": 0.0, "weight_decay": 0.0} | dict.fromkeys(
    ("alpha", "beta1", "beta2", "betas", "dampening", "eps", "momentum", "rho"), -math.inf
)
"""The least that an argument of an optimizer may be, by its name; all are finite. What else holds, its class knows."""

MAX_NODES, MAX_DEPTH, MAX_NAME = 100_000, 50, 1000
"""How many values a config may hold, how deeply nested, and how long a key may be; more is a mistake, or malice."""


MAX_LISTED = 1000
"""How many schedules, hooks, rules or optimizers a config may list."""


def few(listed: T, path: str) -> T:
    """Return what a config lists, if it is not more than a run can have."""
    if len(listed) > MAX_LISTED:  # type: ignore[arg-type]
        raise ConfigError(f"at most {MAX_LISTED} are taken, got {len(listed)}", path)  # type: ignore[arg-type]
    return listed


def plain(value: Any, path: str = "") -> Any:
    """Return a config as dicts, lists, tuples and Python's numbers, copied; objects in it stay themselves.

    Any other mapping becomes a dict, any other sequence a list, a scalar of NumPy a number of Python. What holds
    settings as attributes becomes a dict too: an ``argparse.Namespace``, a model of pydantic, a ``Config`` of mmengine,
    and a dataclass that is the whole config, stands in such a one, or has a field ``type`` or ``optimizer``.

    Raises:
        ConfigError: It is nested more deeply, or holds more, than a config can, or a number is too large.
    """
    nodes = 0

    def copied(value: Any, path: str, depth: int, opened: bool = False) -> Any:
        nonlocal nodes
        nodes += 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            what = f"holds more than {MAX_NODES} values" if nodes > MAX_NODES else "is nested too deeply"
            raise ConfigError(f"the config {what}", shown(path, 100).strip("'"))
        kind = type(value)
        if kind in (str, float, bool, type(None)):
            return value
        if isinstance(value, int):
            if value.bit_length() > 1023:
                raise ConfigError("this whole number is too large to calculate with", path)
            return value
        if kind.__module__ == "numpy" and getattr(value, "ndim", None) == 0:
            return value.item()
        settings = value if isinstance(value, Mapping) else _settings_of(value, opened or depth == 0)
        if settings is not None:
            opened = opened or settings is not value
            if any(isinstance(key, str) and len(key) > MAX_NAME for key in settings):
                raise ConfigError(f"a key is longer than {MAX_NAME} characters", path)
            try:
                items = [*settings.items()]
            except Exception as error:  # OmegaConf resolves what refers to another place, or to nothing
                raise ConfigError(str(error).partition("\n")[0], path) from error
            return {key: copied(item, join_path(path, key), depth + 1, opened) for key, item in items}
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview)):
            listed = [copied(item, join_path(path, index), depth + 1, opened) for index, item in enumerate(value)]
            return tuple(listed) if kind is tuple else kind(*listed) if hasattr(kind, "_fields") else listed
        return value

    return copied(value, path, 0)


def _settings_of(value: Any, opened: bool) -> Mapping[str, Any] | None:
    """Return what an object of settings holds, by name; None for any other object."""
    kind: Any = type(value)
    bases = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in kind.__mro__}
    if "argparse.Namespace" in bases:
        return dict(vars(value))
    if "pydantic.BaseModel" in bases:
        return {name: getattr(value, name) for name in kind.model_fields}
    if "mmengine.Config" in bases:
        return dict(value.to_dict())
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is None or callable(value) or "torch.Optimizer" in bases or kind.__module__.startswith("optimzoo"):
        return None
    return {name: getattr(value, name) for name in fields} if opened or fields.keys() & {"type", "optimizer"} else None


def out_of_range(name: str, value: Any) -> str:
    """Return what is wrong with the value of an optimizer's argument; objects such as tensors may be any."""
    low = RANGES.get(name, -math.inf)
    several = isinstance(value, (list, tuple))
    if isinstance(value, (bool, str, Mapping, list, tuple) if low == 0 else (str, Mapping)) and name in RANGES:
        return f"a number is wanted, got {shown(value)}"
    for each in filter(is_number, value if several else [value]):
        if isinstance(each, int) and each.bit_length() > 1023:
            return "this whole number is too large to calculate with"
        if low == 0 and not each >= 0:
            return f"a number of at least 0 is wanted, got {shown(value)}"
        if math.isnan(each) or (math.isinf(each) and name in RANGES):
            return f"a finite number is wanted, got {shown(value)}"
    return ""


def scalar(value: Any) -> Any:
    """Return a number of NumPy, or in a tensor, as one of Python; anything else as it is."""
    is_one = getattr(value, "ndim", None) == 0 and type(value).__module__.partition(".")[0] in ("numpy", "torch")
    return value.item() if is_one else value


def without_arrays(value: Any) -> Any:
    """Return an array of NumPy as a list of Python's numbers; anything else as it is."""
    return value.tolist() if type(value).__module__.partition(".")[0] == "numpy" else value


def is_number(value: Any) -> bool:
    """Whether ``value`` is an int or a float; a bool is neither here."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def number(value: Any, path: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Return ``value`` if it is a number from ``low`` to ``high``, as one of Python."""
    checked: Any = scalar(value)
    if not is_number(checked) or not low <= checked <= high:
        bounds = {(True, True): "", (False, True): f" of at least {low:g}", (True, False): f" of at most {high:g}"}
        wanted = bounds.get((low == -math.inf, high == math.inf), f" from {low:g} to {high:g}")
        raise ConfigError(f"a number{wanted} is wanted, got {shown(value)}", path)
    return checked  # type: ignore[no-any-return]


def whole_number(value: Any, path: str, low: int | None = None) -> int:
    """Return ``value`` if it is an int, of at least ``low`` if that is given, as one of Python."""
    checked: Any = scalar(value)
    if not isinstance(checked, int) or isinstance(checked, bool) or (low is not None and checked < low):
        wanted = "a whole number" if low is None else f"a whole number of at least {low}"
        raise ConfigError(f"{wanted} is wanted, got {shown(value)}", path)
    return checked


def as_count(value: Any, path: str, low: int | None = None) -> int:
    """Return ``value`` if it is a whole number, as those that a config works out, such as 32.0, are too."""
    whole = isinstance(value, float) and value.is_integer()
    return whole_number(int(value) if whole else value, path, low)


def one_of(value: T, options: Iterable[T], path: str) -> T:
    """Return ``value`` if it is one of the ``options``."""
    listed = list(options)
    if not any(isinstance(value, type(option)) and value == option for option in listed):  # an array equals in parts
        hint = did_you_mean(near(value, map(str, listed))) if isinstance(value, str) else ""
        raise ConfigError(f"{' or '.join(map(repr, listed))} is wanted, got {shown(value)}.{hint}", path)
    return value
