"""Errors and warnings. Every message says what was wrong, where in the config, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class OptimzooError(Exception):
    """Base of every error that optimzoo raises on purpose.

    Attributes:
        problem: The message without the path.
        path: Where in the config the fault lies, such as ``param_scheduler[1].type``; empty when unknown.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.problem = problem
        self.path = path

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError and ImportError, bases of two kinds, would not print the current one

    def under(self, path: str) -> OptimzooError:
        """Return this error, with ``path`` put before its own path."""
        self.path = join_path(path, self.path) if self.path else path
        self.args = (f"{self.path}: {self.problem}" if self.path else self.problem,)
        return self


class ConfigError(OptimzooError, ValueError):
    """A config, or an argument that could have come from one, is wrong.

    Attributes:
        problems: The errors that this one lists, or just itself.
    """

    def __init__(self, problem: str, path: str = "", problems: Sequence[OptimzooError] = ()) -> None:
        super().__init__(problem, path)
        self.problems: list[OptimzooError] = list(problems) or [self]

    def under(self, path: str) -> ConfigError:
        """Return this error, with ``path`` put before its own path."""
        if self.problems != [self]:
            return listing([problem.under(path) for problem in self.problems])
        super().under(path)
        return self


def distinct(problems: Iterable[OptimzooError]) -> list[OptimzooError]:
    """Return ``problems``, those of a listing one by one, without repetitions."""
    found: dict[str, OptimzooError] = {}
    for problem in problems:
        for one in problem.problems if isinstance(problem, ConfigError) else [problem]:
            found.setdefault(str(one), one)
    return list(found.values())


MOST = 100
"""Problems that are told at once; where there are as many, no further ones are looked for."""


def listing(problems: Sequence[OptimzooError]) -> ConfigError:
    """Return one error that lists several."""
    first = "the first " if len(problems) >= MOST else ""
    return ConfigError(
        f"{first}{len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems), "", problems
    )


class Problems:
    """Collects the errors of several attempts; at the end of its block, or where there are too many, they are raised.

    Attributes:
        found: The errors so far, those of a listing one by one, each once.
    """

    def __init__(self) -> None:
        self.found: list[OptimzooError] = []

    def __enter__(self) -> Problems:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OptimzooError):
            self.found = distinct([*self.found, error])[:MOST]
        if error is None or isinstance(error, OptimzooError):
            self.raise_all()

    def add(self, *errors: OptimzooError) -> None:
        """Collect errors."""
        self.found = distinct([*self.found, *errors])[:MOST]
        if len(self.found) == MOST:
            raise listing(self.found)

    def catch(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``function`` returns. What it raises is collected; the None in its place leaves no block."""
        try:
            return function(*args, **kwargs)
        except OptimzooError as error:
            self.add(error)
            return None  # type: ignore[return-value]

    def raise_all(self) -> None:
        """Raise nothing, the one error, or one that lists all of them."""
        if len(self.found) == 1:
            raise self.found[0] from self.found[0].__cause__
        if self.found:
            raise listing(self.found)


class UnknownNameError(ConfigError, KeyError):
    """A name is not registered, or stands for more than one thing.

    Attributes:
        suggestions: Registered names that are near to the one asked for, best first.
    """

    def __init__(self, problem: str, path: str = "", suggestions: Sequence[str] = ()) -> None:
        super().__init__(problem, path)
        self.suggestions = list(suggestions)


class MissingDependencyError(OptimzooError, ImportError):
    """A name is known, but the library that implements it cannot be imported.

    Attributes:
        install: The command that installs it.
    """

    path: str  # ImportError has one too, for the module's file

    def __init__(self, problem: str, install: str, path: str = "") -> None:
        super().__init__(problem, path)
        self.install = install


class PluginError(OptimzooError):
    """A plugin broke the contract of its hook, or what it registered cannot be loaded."""


class CheckpointError(OptimzooError):
    """A checkpoint is missing, damaged, or does not fit what it is loaded into."""


class WriteError(OptimzooError, OSError):
    """A file of a run cannot be written: the disk is full, or the folder is gone or read-only."""


class NonFiniteError(OptimzooError, ArithmeticError):
    """A loss or a gradient became NaN or infinite, and the policy is to stop."""


class LostProcessError(OptimzooError):
    """Another process of a run failed or ended, and this one cannot go on without it."""


class OptimzooWarning(UserWarning):
    """Something is legal but probably not what was meant."""


class PluginWarning(OptimzooWarning):
    """A plugin could not be loaded; everything else works."""


SYNONYMS = {
    "learning_rate": "lr",
    "wd": "weight_decay",
    "epochs": "max_epochs",
    "num_epochs": "max_epochs",
    "iters": "max_iters",
    "max_steps": "max_iters",
    "grad_clip": "clip_grad",
    "gradient_accumulation_steps": "accumulative_counts",
    "lr_scheduler": "param_scheduler",
    "seed": "randomness",
    "min_lr": "eta_min",
    "max_lr": "eta_max",
    "warmup_steps": "end",
    "total_iters": "end",
    "max_keep_ckpts": "keep",
    "momentum": "decay",
    "cosineannealingwarmrestarts": "cosinerestartlr",
}
"""What other libraries call something, and what it is called here."""


def near(name: object, known: Iterable[object], limit: int = 3) -> list[str]:
    """Return up to ``limit`` of the ``known`` names that ``name`` may be a misspelling of, best first."""
    by_lower: dict[str, str] = {}
    for candidate in map(str, known):
        by_lower.setdefault(candidate.lower(), candidate)
    wanted = str(name)[:100].lower().replace("-", "_")
    if SYNONYMS.get(wanted) in by_lower:
        return [by_lower[SYNONYMS[wanted]]]
    bound, scores = difflib.SequenceMatcher(None, "", wanted), {}  # which learns the second word once
    for key in by_lower:
        bound.set_seq1(key)
        if bound.real_quick_ratio() >= 0.6 and bound.quick_ratio() >= 0.6:
            scores[key] = difflib.SequenceMatcher(None, wanted, key).ratio()
    best = max(scores.values(), default=0.0)
    close = sorted(
        (key for key, score in scores.items() if score >= max(0.6, best - 0.1)), key=lambda k: (-scores[k], k)
    )
    if not close:  # a word of a longer name: "cosine" for "CosineAnnealingLR"
        close = sorted(key for key in by_lower if len(wanted) > 2 and wanted in key)
    return [by_lower[key] for key in close[:limit]]


def did_you_mean(suggestions: Sequence[str]) -> str:
    """Return `` Did you mean 'a' or 'b'?`` with its leading space, or nothing."""
    if not suggestions:
        return ""
    quoted = [repr(s) for s in suggestions]
    listed = quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]
    return f" Did you mean {listed}?"


def a(noun: str) -> str:
    """Return ``noun`` with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def shown(value: object, width: int = 200) -> str:
    """Return ``repr(value)`` in one line, cut where it is long; of what has no such text, its type."""
    try:
        text = repr(value)
    except Exception:  # nested too deeply, a number of too many digits, or an object's own fault
        return f"<{type(value).__name__}>"
    text = " ".join(text.split()) if "\n" in text else text
    return text if len(text) <= width else f"{text[: width - 4]} ..."


def join_path(path: str, key: object) -> str:
    """Return the config path of ``key`` inside ``path``: ``a.b`` for a name, ``a[1]`` for an index."""
    if not isinstance(key, str):
        return f"{path}[{shown(key)}]"
    if not path or key.startswith("["):
        return f"{path}{key}"
    return f"{path}.{key}"
