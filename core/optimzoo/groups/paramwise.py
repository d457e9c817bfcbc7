"""The table of ``paramwise_cfg``: what each key means, and the rules that a config makes of them.

A key is one row of ``TABLE``. What is built, explained, drawn and documented, and the spelling mistakes that are
recognized, all follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from optimzoo.errors import ConfigError, Problems, did_you_mean, near, shown
from optimzoo.groups.modules import is_depthwise
from optimzoo.groups.norms import is_norm, is_vector
from optimzoo.groups.patterns import TITLES
from optimzoo.groups.rules import MULTIPLIERS, OTHERS, Place, Row, argument, multiplier, read_rule, settled
from optimzoo.names.zoo import OPTIMIZERS
from optimzoo.optimizers.described import DescribedOptimizer
from optimzoo.values import MARKS, few


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
    is_called_so = at.name.endswith(".bias") or ".parametrizations.bias." in at.name
    return is_called_so or (cfg.get("all_biases") is True and is_other_bias(at))


def is_other_bias(at: Place) -> bool:
    """Whether it is a bias by another name, such as ``in_proj_bias`` or ``bias_ih_l0``; tables of biases are not."""
    if "bias" not in at.name or at.name.endswith(".bias"):
        return False
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
        raise ConfigError(f"a dict is wanted, got {shown(cfg)}", "paramwise_cfg")
    with Problems() as problems:
        notes: list[ConfigError] = []
        known = (*KEYS, *own_keys, *MARKS)
        for name in (name for name in cfg if name not in known):
            hint = did_you_mean(near(name, known))
            if closed and name in optimizer.group_keys:
                hint = " It belongs in a rule."
            elif closed and name in optimizer.settings:
                hint = " It belongs in 'optimizer'; a rule gives a group a value of its own."
            if closed:
                listed = "" if hint else f" It reads {', '.join(known[: -len(MARKS)])}."
                problems.add(_error(f"{reader} reads no key {name!r}.{hint}{listed}", name))
            elif hint:  # of a key that may be a subclass's, only a near miss is worth a word
                notes.append(_error(f"is it meant for {reader}?{hint}", name))
        switches = {
            key.name: problems.catch(_switch, key, cfg.get(key.name, key.default))
            for key in TABLE
            if key.default is not None
        }
        multipliers = [
            problems.catch(_multiplier, key, cfg, optimizer)
            for key in TABLE
            if key.setting and cfg.get(key.name) is not None
        ]
        custom = []
        for name, settings in _items(cfg, "custom_keys", Mapping, "a dict of dicts", problems):
            custom.append(problems.catch(_custom, name, settings, optimizer, notes))
        rules = []
        for index, rule in _items(cfg, "rules", (list, tuple), "a list of dicts", problems):
            if rule is not OTHERS:
                rules.append(problems.catch(read_rule, rule, f"rules[{index}]", optimizer, switches["not_norms"] or ()))
        if switches["strict"]:
            problems.add(*notes)
    custom.sort(key=lambda row: (-len(row.name), row.name))
    return Paramwise(tuple(custom), tuple(multipliers), tuple(rules), switches, tuple(cfg), tuple(notes))


def _error(problem: str, key: Any) -> ConfigError:
    return ConfigError(problem, f"paramwise_cfg.{key}")


def _items(cfg: Mapping[str, Any], key: str, kind: Any, wanted: str, problems: Problems) -> Iterable[tuple[Any, Any]]:
    value = cfg.get(key) or {}
    if value and not isinstance(value, kind):
        problems.add(_error(f"{wanted} is wanted, got {shown(value)}", key))
        return ()
    few(value, f"paramwise_cfg.{key}")
    return value.items() if isinstance(value, Mapping) else enumerate(value)


def _switch(key: Key, value: Any) -> Any:
    if isinstance(key.default, bool) and not isinstance(value, bool):
        raise _error(f"true or false is wanted, got {shown(value)}", key.name)
    if key.default == () and not (isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)):
        raise _error(f"a list of names of classes is wanted, got {shown(value)}", key.name)
    return value


def _multiplier(key: Key, cfg: Mapping[str, Any], optimizer: DescribedOptimizer) -> Row:
    factor = multiplier(optimizer, key.setting, cfg[key.name], f"paramwise_cfg.{key.name}")
    return Row(key.name, lambda at: key.holds(at, cfg), {key.setting: factor})


def _custom(name: Any, settings: Any, optimizer: DescribedOptimizer, notes: list[ConfigError]) -> Row:
    label = f"custom_keys[{name!r}]"
    multiplies: dict[str, float] = {}
    sets: dict[str, Any] = {}
    with Problems() as problems:
        if not isinstance(name, str):
            problems.add(_error("a key is a part of parameters' names; put it in quotes", label))
        if not isinstance(settings, Mapping):
            raise _error(f"a dict such as {{'lr_mult': 0.1}} is wanted, got {shown(settings)}", label)
        for key, value in settings.items():
            if key in MULTIPLIERS:
                setting, path = MULTIPLIERS[key], f"paramwise_cfg.{label}.{key}"
                multiplies[setting] = problems.catch(multiplier, optimizer, setting, value, path)
                if setting in settings:
                    what = f"{setting} stands beside it and decides, so it does nothing"
                    notes.append(_error(what, f"{label}.{key}"))
            elif key in optimizer.settings or key in optimizer.group_keys:
                sets[key] = problems.catch(argument, optimizer, key, value, f"paramwise_cfg.{label}")
            else:
                sets[key] = value
                if key not in TITLES and (near(key, MULTIPLIERS) or not optimizer.may_read(key)):
                    hint = did_you_mean(near(key, (*MULTIPLIERS, *optimizer.settings))) or _readers(optimizer, key)
                    what = f"{key!r} is no multiplier and no argument of {optimizer.cls.__name__}"
                    notes.append(
                        _error(f"{what}, so it is copied into the group, where nothing reads it.{hint}", label)
                    )
    multiplies = {setting: factor for setting, factor in multiplies.items() if setting not in sets}
    return Row(label, lambda at: name in at.name, multiplies, sets, name)


def _readers(optimizer: DescribedOptimizer, key: str) -> str:
    """Return a sentence about other optimizers of the same name whose groups have ``key``."""
    same = [entry for entry in OPTIMIZERS.entries() if entry.name == optimizer.cls.__name__ and key in entry.group_keys]
    return f" {' and '.join(map(OPTIMIZERS.display_name, same))} would read it." if same else ""
