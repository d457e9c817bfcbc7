"""The table of ``paramwise_cfg``: what each key means, and the rules that a config makes of them.

A key is one row of ``TABLE``. What is built, explained, drawn and documented, and the spelling mistakes that are
recognized, all follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from optimzoo import calls
from optimzoo.errors import ConfigError, OptimzooError, did_you_mean, near
from optimzoo.groups.modules import is_depthwise
from optimzoo.groups.norms import is_norm, is_vector
from optimzoo.groups.patterns import TITLES
from optimzoo.groups.rules import MULTIPLIERS, Place, Row, argument, multiplier, read_rule, settled
from optimzoo.optimizers.described import DescribedOptimizer
from optimzoo.values import MARKS


@dataclass(frozen=True)
class Key:
    """A key of ``paramwise_cfg``.

    Args:
        name: The key.
        about: What it acts on, or does.
        setting: The setting that it multiplies, if it multiplies one.
        holds: Which parameters it multiplies it for, given the config.
        default: What it is where the config does not say; the kind of its value.
    """

    name: str
    about: str
    setting: str = ""
    holds: Callable[[Place, Mapping[str, Any]], bool] = lambda at, cfg: False
    default: Any = None


def _is_bias(at: Place, cfg: Mapping[str, Any]) -> bool:
    return at.own_name == "bias" or (cfg.get("all_biases") is True and is_other_bias(at))


def is_other_bias(at: Place) -> bool:
    """Whether it is a bias by another name, such as ``in_proj_bias`` or ``bias_ih_l0``; tables of biases are not."""
    words = at.own_name.split("_")
    return len(words) > 1 and "bias" in (words[0], words[-1]) and is_vector(at.parameter)


def _is_norm(at: Place, cfg: Mapping[str, Any]) -> bool:
    return is_norm(at.modules[-1], cfg.get("not_norms") or ())


TABLE = (
    Key("custom_keys", "parameters whose name contains the key; the longest key decides, alone: `lr_mult`, "
        "`decay_mult`, and any other entry, which is copied into the group"),
    Key("dcn_offset_lr_mult", "the offset layers (`conv_offset`) of deformable convolutions", "lr",
        lambda at, cfg: at.in_dcn and isinstance(at.modules[-1], nn.Conv2d)
        and "conv_offset" in at.name.rpartition(".")[0]),
    Key("bias_lr_mult", "parameters called `bias`, except those of norms and in deformable convolutions", "lr",
        lambda at, cfg: _is_bias(at, cfg) and not _is_norm(at, cfg) and not at.in_dcn),
    Key("norm_decay_mult", "all parameters of normalization layers, those of model libraries included",
        "weight_decay", _is_norm),
    Key("bias_decay_mult", "parameters called `bias`, except in deformable convolutions", "weight_decay",
        lambda at, cfg: _is_bias(at, cfg) and not at.in_dcn),
    Key("dwconv_decay_mult", "all parameters of depthwise convolutions", "weight_decay",
        lambda at, cfg: is_depthwise(at.modules[-1])),
    Key("flat_decay_mult", "one-dimensional parameters, except in deformable convolutions", "weight_decay",
        lambda at, cfg: at.parameter.ndim == 1 and not at.in_dcn),
    Key("rules", "see below"),
    Key("all_biases", "`True`: the two keys for biases take those by other names too, such as `in_proj_bias` and "
        "`bias_ih_l0`; `False`: they do not, and nothing is said of it", default=False),
    Key("not_norms", "names of classes that are no norms, though they are called so", default=()),
    Key("bypass_duplicate", "`True`: a shared parameter is trained once, with the settings of its first name; else it "
        "is an error", default=False),
    Key("merge_groups", "`False`: one group per parameter, as in mmengine", default=True),
    Key("strict", "`True`: a key that meets no parameter, or that nothing reads, is an error instead of a warning",
        default=False),
)  # fmt: skip
KEYS = tuple(key.name for key in TABLE)


@dataclass(frozen=True)
class Paramwise:
    """The rules of a ``paramwise_cfg`` that was read.

    Args:
        custom: A row for each custom key, the longest first, equal lengths in alphabetical order.
        multipliers: A row for each multiplier that is set; of those for one setting the first that holds decides.
        rules: A row for each of ``rules``; they add up.
        switches: The values of the other keys.
        given: The keys that the config gives.
        notes: What is probably not meant, with its place.
    """

    custom: tuple[Row, ...] = ()
    multipliers: tuple[Row, ...] = ()
    rules: tuple[Row, ...] = ()
    switches: Mapping[str, Any] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    notes: tuple[ConfigError, ...] = ()

    def deciding(self, at: Place) -> list[Row]:
        """Return the rows that give a parameter its settings before ``rules``."""
        for row in self.custom:
            if row.holds(at):
                return [row]
        first: dict[str, Row] = {}
        for row in self.multipliers:
            (setting,) = row.multiplies
            if setting not in first and row.holds(at):
                first[setting] = row
        return list(first.values())

    def alone(self, settings: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the label of each row, and the settings of a group that this row alone would make."""
        for row in (*self.custom, *self.multipliers, *self.rules):
            yield row.label, {**settings, **settled({}, [row], settings)}


def read_paramwise(
    cfg: Any, optimizer: DescribedOptimizer, reader: str, own_keys: Iterable[str] = (), closed: bool = True
) -> Paramwise:
    """Return what ``paramwise_cfg`` says; it is left as it is.

    Args:
        cfg: The config.
        optimizer: The optimizer whose settings it is about.
        reader: What messages call the constructor that reads it.
        own_keys: Keys that the constructor reads itself.
        closed: Whether no other keys are read.

    Raises:
        ConfigError: It is wrong; one error lists all that is.
    """
    if not isinstance(cfg, Mapping):
        raise ConfigError(f"a dict is wanted, got {cfg!r}", "paramwise_cfg")
    reading = _Reading(optimizer)
    known = (*KEYS, *own_keys)
    for name in (name for name in cfg if name not in (*known, *MARKS)):
        hint = did_you_mean(near(name, (*known, *MARKS)))
        if closed:
            listed = "" if hint else f" It reads {', '.join(known)}."
            reading.wrong(f"{reader} reads no key {name!r}.{hint}{listed}", str(name))
        elif hint:  # of a key that may be a subclass's, only a near miss is worth a word
            reading.odd(f"is it meant for {reader}?{hint}", name)
    switches = {
        key.name: reading.switch(key, cfg.get(key.name, key.default)) for key in TABLE if key.default is not None
    }
    multipliers = [reading.multiplier(key, cfg) for key in TABLE if key.setting and cfg.get(key.name) is not None]
    custom = reading.custom(cfg.get("custom_keys") or {})
    rules = reading.rules(cfg.get("rules") or (), switches["not_norms"])
    if switches["strict"] is True:
        reading.problems += reading.notes
    calls.raise_all(reading.problems)
    return Paramwise(tuple(custom), tuple(multipliers), tuple(rules), switches, tuple(cfg), tuple(reading.notes))


class _Reading:
    """Collects what is wrong with a ``paramwise_cfg``, and what is only odd, while its keys are read."""

    def __init__(self, optimizer: DescribedOptimizer) -> None:
        self.optimizer = optimizer
        self.problems: list[OptimzooError] = []
        self.notes: list[ConfigError] = []

    def wrong(self, problem: str, key: str) -> None:
        self.problems.append(ConfigError(problem, f"paramwise_cfg.{key}"))

    def odd(self, problem: str, key: str) -> None:
        self.notes.append(ConfigError(problem, f"paramwise_cfg.{key}"))

    def switch(self, key: Key, value: Any) -> Any:
        if isinstance(key.default, bool) and not isinstance(value, bool):
            self.wrong(f"true or false is wanted, got {value!r}", key.name)
        elif key.default == () and not (isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)):
            self.wrong(f"a list of names of classes is wanted, got {value!r}", key.name)
        return value

    def read(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what ``function`` returns; what it raises is a problem."""
        try:
            return function(*arguments)
        except ConfigError as error:
            self.problems += error.problems

    def multiplier(self, key: Key, cfg: Mapping[str, Any]) -> Row:
        factor = self.read(multiplier, self.optimizer, key.setting, cfg[key.name], f"paramwise_cfg.{key.name}")
        return Row(key.name, lambda at: key.holds(at, cfg), {key.setting: factor})

    def custom(self, cfg: Any) -> list[Row]:
        if not isinstance(cfg, Mapping):
            self.wrong(f"a dict of dicts is wanted, got {cfg!r}", "custom_keys")
            return []
        return [
            self.custom_row(*item) for item in sorted(cfg.items(), key=lambda item: (-len(str(item[0])), str(item[0])))
        ]

    def custom_row(self, name: Any, settings: Any) -> Row:
        label = f"custom_keys[{name!r}]"
        if not isinstance(name, str):
            self.wrong("a key is a part of parameters' names; put it in quotes", label)
        if not isinstance(settings, Mapping):
            self.wrong(f"a dict such as {{'lr_mult': 0.1}} is wanted, got {settings!r}", label)
            settings = {}
        multiplies: dict[str, float] = {}
        sets: dict[str, Any] = {}
        for key, value in settings.items():
            if key in MULTIPLIERS:
                factor = self.read(multiplier, self.optimizer, MULTIPLIERS[key], value, f"paramwise_cfg.{label}.{key}")
                multiplies[MULTIPLIERS[key]] = factor
                if MULTIPLIERS[key] in settings:
                    self.odd(f"{MULTIPLIERS[key]} stands beside it and decides, so it does nothing", f"{label}.{key}")
            elif key in self.optimizer.settings:
                sets[key] = self.read(argument, self.optimizer, key, value, f"paramwise_cfg.{label}")
            else:
                sets[key] = value
                if key not in TITLES and (near(key, MULTIPLIERS) or not self.optimizer.may_read(key)):
                    hint = did_you_mean(near(key, (*MULTIPLIERS, *self.optimizer.settings)))
                    what = f"{key!r} is no multiplier and no argument of {self.optimizer.cls.__name__}"
                    self.odd(f"{what}, so it is copied into the group, where nothing reads it.{hint}", label)
        multiplies = {setting: factor for setting, factor in multiplies.items() if setting not in sets}
        return Row(label, lambda at: name in at.name, multiplies, sets, name)

    def rules(self, cfg: Any, but: Collection[str]) -> list[Row]:
        if not isinstance(cfg, (list, tuple)):
            self.wrong(f"a list of dicts is wanted, got {cfg!r}", "rules")
            return []
        return [self.read(read_rule, rule, f"rules[{index}]", self.optimizer, but) for index, rule in enumerate(cfg)]
