"""The command that shows what is known of a name."""

from __future__ import annotations

import contextlib
import inspect
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from optimzoo import calls
from optimzoo.cli.vet import With, measuring, names_beside_the_shell
from optimzoo.console import out
from optimzoo.errors import ConfigError, MissingDependencyError, UnknownNameError, did_you_mean, near
from optimzoo.names.entry import NEEDS, Entry, dotted, import_dotted, library_version
from optimzoo.names.facts import UNMEASURED, Facts
from optimzoo.names.registry import Registry
from optimzoo.names.zoo import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS, REGISTRIES, needs_of_class
from optimzoo.names.zoo import plugins as plugin_manager


def show(
    name: Annotated[str, typer.Argument(help="A name that `optimzoo list` prints, an alias, or package.module:Class.")],
    step_size: Annotated[
        bool, typer.Option("--step-size", help="Measure how far an update at lr=0.01 moves a matrix of 1024 x 1024.")
    ] = False,
    settings: With = None,
) -> None:
    """Show where a name comes from, what it needs and what arguments it takes.

    Of a registered name, its library alone is imported; of package.module:Class, that module. --with is for
    --step-size.
    """
    if settings and not step_size:
        raise typer.BadParameter("it gives arguments to what --step-size measures", param_hint="--with")
    if ":" in name:
        _show(*_by_path(name))
        _show_step(name, settings) if step_size else None
        return
    found = [(registry, entry) for registry in REGISTRIES.values() for entry in registry.claimants(name)]
    named_so = [entry for registry in REGISTRIES.values() for entry in registry.entries() if name in entry.names]
    others = [entry for entry in named_so if all(entry is not shown for _, shown in found)]
    if not found and (not others or plugin_manager.hints()):
        known = [n for registry in REGISTRIES.values() for n in registry]
        suggestions = [entry.qualified for entry in others] or near(name, known)
        raise UnknownNameError(
            f"no installed plugin registers {name!r}.{did_you_mean(suggestions)}{plugin_manager.hints()}",
            "",
            suggestions,
        )
    for registry, entry in found:
        _show(registry, entry)
    if step_size and found:
        _show_step(name, settings)
    if others:
        _show_others(name, found[0][1] if found else None, others)


def _show_step(name: str, settings: list[str] | None) -> None:
    """Measure the size of a step, and print it."""
    from optimzoo.vetting.size import step_size

    with measuring(settings) as kwargs:
        size, given = step_size(name, **kwargs)
    told = [f"{key}={value!r}" for key, value in given.items()]
    what = f"the first update of a 1024 x 1024 matrix{' with ' * bool(told)}{', '.join(told)}, by root mean square"
    line = f"  step size: {size:.3g}, {what} (weights and gradients of size 1, no decay)"
    out.print(line, soft_wrap=True, highlight=False)


def _by_path(name: str) -> tuple[Registry, Entry]:
    """Return the registry that a class belongs in, and what is known of it: what a plugin registered, or what it says.

    Raises:
        ConfigError: There is no such class, or it is of no kind that a config names.
    """
    names_beside_the_shell()
    target = import_dotted(name)
    registries = [registry for registry in REGISTRIES.values() if registry is not OPTIM_WRAPPER_CONSTRUCTORS]
    for registry in registries:
        with contextlib.suppress(ConfigError):
            registry.get(target)
            about = (inspect.getdoc(target) or "").partition("\n")[0]
            needs = sorted(needs_of_class(target)) if registry is OPTIMIZERS else ()
            return registry, registry.owner_of(target) or Entry(
                target.__name__, target, about=about, needs=tuple(needs)
            )
    raise ConfigError(f"{name} is none of these: {', '.join(registry.must_be for registry in registries)}")


def _show(registry: Registry, entry: Entry) -> None:
    report = next((r for r in plugin_manager.reports() if r.name == entry.plugin), None)
    version = library_version(entry.library) if entry.installed else "(not installed)"
    facts = {
        "kind": registry.kind.split()[-1],
        "qualified name": entry.qualified if entry.plugin else "",
        "aliases": ", ".join(alias for alias in entry.aliases if alias != registry.display_name(entry)),
        "class": dotted(entry.target),
        "library": f"{entry.library} {version}",
        "plugin": f"{report.name} ({report.target}), from {report.distribution} {report.version}" if report else "",
        "about": entry.about,
        "paper": entry.paper,
        "licence": entry.licence,
        "needs": "; ".join(NEEDS[need] for need in entry.needs),
        "keys of its groups": ", ".join(entry.group_keys),
        "notes": "\n".join(entry.notes.values()),
    }
    try:
        target = entry.load()
    except MissingDependencyError as error:
        facts |= {"fails": error.problem if entry.installed else "", "install": error.install or entry.hint}
    else:
        facts["arguments"] = "\n".join(map(_argument, calls.parameters(target).values()))
    facts |= _measured(entry) if registry is OPTIMIZERS else {}
    grid = Table.grid(padding=(0, 2))
    for label, value in facts.items():
        if value:
            grid.add_row(f"  {label}:", Text(str(value), overflow="fold"))
    out.print(registry.display_name(entry), style="bold", highlight=False)
    out.print(grid)


def _show_others(name: str, shown: Entry | None, others: list[Entry]) -> None:
    """List what else is called ``name``, and how it differs from what was shown, as far as that is measured."""
    out.print(f"\n{'also ' * bool(shown)}called {name}", style="bold", highlight=False)
    facts = shown.facts if shown else None
    grid = Table.grid(padding=(0, 2))
    for entry in others:
        version = library_version(entry.library) if entry.installed else "(not installed)"
        grid.add_row(f"  {entry.qualified}:", Text(f"{entry.library} {version}: {_differences(entry.facts, facts)}"))
    out.print(grid)


def _differences(facts: Facts | None, others: Facts | None) -> str:
    if facts is None:
        return "not measured"
    values = {fact: value for fact, (_, value, _) in facts.rows.items()}
    if others is None:
        return ", ".join(f"{fact}: {value}" for fact, value in values.items())
    both = ((fact, value, others.value(fact)) for fact, value in values.items() if fact in others.rows)
    differ = [f"{fact}: {_found(one)} (above {_found(other)})" for fact, one, other in both if one != other]
    return "; ".join(differ) or "no measured fact differs"


def _found(value: object) -> str:
    return "not measured" if value is None else str(value)


def _measured(entry: Entry) -> dict[str, str]:
    """Return the measured facts for people: where they come from, and what there is of each verdict."""
    measured = entry.facts
    if measured is None and not entry.plugin:
        declare = "needs = [...] beside it in the config declares what cannot be seen of it"
        return {"measured": f"not yet: optimzoo vet {dotted(entry.target)}", "to know": declare}
    if measured is None:
        return {"measured": entry.measured} if UNMEASURED.keys() & set(entry.needs) else {}

    def lines(verdict: str) -> str:
        rows = measured.of_verdict(verdict).items()
        return "\n".join(f"{name}: {why if value is None else f'{value} ({why})'}" for name, (_, value, why) in rows)

    good = ", ".join(f"{name}: {value}" for name, (_, value, _) in measured.of_verdict("fine").items())
    of_library = "" if entry.library == "torch" else f"{entry.library} {measured.version} and "
    with_what = f"with {of_library}torch {measured.torch}, on {measured.date}; docs/vetting.md tells of each fact"
    told = {"faults": lines("fault"), "to know": lines("note"), "fine": good, "not measured": lines("unmeasured")}
    return {"measured": with_what, **told}


def _argument(parameter: inspect.Parameter) -> str:
    return parameter.name if parameter.default is parameter.empty else f"{parameter.name} = {parameter.default!r}"
