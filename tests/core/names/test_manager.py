import json
import re
import sys
import textwrap
import threading

import pytest

from optimzoo import hookimpl
from optimzoo.errors import OptimzooWarning, PluginError, PluginWarning
from optimzoo.names.manager import PluginManager
from optimzoo.names.registry import Registry

GOOD = """
from optimzoo import hookimpl

@hookimpl
def optimzoo_register(zoo):
    zoo.optimizer("Nova", "torch.optim:SGD", about="Bright")
"""
BROKEN = {
    "raises at import": ("raise RuntimeError('boom')", "RuntimeError: boom"),
    "fails to import": ("import no_such_library", "No module named 'no_such_library'"),
    "ends a generator at import": ("raise GeneratorExit", "GeneratorExit"),
    "raises no exception at import": ("raise type('Odd', (BaseException,), {})('odd')", "Odd: odd"),
    "raises what cannot be told": ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})", "Odd"),
    "exits at import": ("raise SystemExit(3)", "SystemExit: 3"),
    "has a syntax error": ("def", "SyntaxError"),
    "implements nothing": ("x = 1", "implements no hook"),
    "misspells the hook": (GOOD.replace("optimzoo_register", "optimzoo_regster"), "no hook 'optimzoo_regster'"),
    "takes other arguments": (GOOD.replace("(zoo)", "(registry)"), "registry"),
    "wraps the hook": (
        GOOD.replace("@hookimpl", "@hookimpl(hookwrapper=True)") + "    yield\n",
        "may not be a wrapper",
    ),
    "raises in the hook": (GOOD + "    raise ValueError('half done')\n", "ValueError: half done"),
    "exits in the hook": (GOOD + "    raise SystemExit\n", "SystemExit"),
    "returns something": (GOOD + "    return 5\n", "returned 5"),
    "registers twice": (GOOD + "    zoo.optimizer('Nova', 'a:B')\n", "'Nova' is registered twice"),
    "gives a wrong name": (GOOD.replace('"Nova"', '"a name"'), "a name is a Python identifier"),
    "gives a wrong target": (GOOD.replace("torch.optim:SGD", "torch.optim.SGD"), "is 'module:Class' or a class"),
    "declares a wrong need": (GOOD.replace('about="Bright"', 'needs=["closures"]'), "Did you mean 'closure'"),
    "gives an empty module": (GOOD.replace("torch.optim:SGD", ":SGD"), "is 'module:Class' or a class"),
    "gives a relative module": (GOOD.replace("torch.optim:SGD", ".nova:SGD"), "is 'module:Class' or a class"),
    "describes by nothing": (GOOD.replace('"Bright"', "None"), "about of 'Nova' is a string, got None"),
    "names a wrong extra": (GOOD.replace('about="Bright"', "extra=3"), "extra of 'Nova' is a string, got 3"),
    "names a wrong licence": (GOOD.replace('about="Bright"', "licence=3"), "licence of 'Nova' is a string, got 3"),
    "notes by nothing": (GOOD.replace('about="Bright"', "notes={'lr': 3}"), "a note of 'Nova' is a string, got 3"),
    "passes a wrong keyword": (
        GOOD.replace("about=", "abuot="),
        "no argument 'abuot' about a name such as 'Nova'. Did you mean 'about'?",
    ),
}


DECORATED = """
import torch
from optimzoo import OPTIMIZERS, hookimpl

@OPTIMIZERS.register_module()
class Nova(torch.optim.SGD):
    "Bright."

@hookimpl
def optimzoo_built(optim_wrapper, model): ...
"""
COMMAND = """
from optimzoo import hookimpl

@hookimpl
def optimzoo_commands(app):
    @app.command()
    def greet(name: str):
        print("hello", name)
"""


def plugins_of(optimzoo, **kwargs):
    done = optimzoo("plugins", "--json", **kwargs)
    return {report["name"]: report for report in json.loads(done.stdout)}, done.stderr


def test_an_installed_distribution_is_found_by_its_entry_point(optimzoo, install_plugin):
    reports, _ = plugins_of(optimzoo, path=[install_plugin(GOOD, version="2.1")])
    acme = reports["acme"]
    assert (acme["status"], acme["registered"]) == ("loaded", ["Nova"])
    assert (acme["distribution"], acme["version"]) == ("acme-plugin", "2.1")


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_is_named_and_leaves_nothing_behind_and_the_rest_work(fault, optimzoo, install_plugin):
    code, said = BROKEN[fault]
    reports, warned = plugins_of(optimzoo, path=[install_plugin(code)])
    assert reports["acme"]["status"] == "broken"
    assert said in reports["acme"]["reason"]
    assert reports["acme"]["registered"] == []
    assert "warning: plugin 'acme' (acme_plugin, from acme-plugin 1.0)" in warned
    assert reports["lion"]["status"] == "loaded"


def test_a_module_with_two_entry_points_is_loaded_once_and_the_other_is_told(optimzoo, install_plugin):
    folder = install_plugin(GOOD, points="[optimzoo]\nacme = acme_plugin\nolder = acme_plugin\n")
    reports, _ = plugins_of(optimzoo, path=[folder])
    assert (reports["acme"]["status"], reports["older"]["status"]) == ("loaded", "broken")
    assert reports["older"]["reason"] == "PluginError: it is the plugin 'acme' already, by another entry point"


def test_an_unknown_name_points_at_the_plugin_that_broke(optimzoo, install_plugin):
    done = optimzoo("show", "Nova", path=[install_plugin("raise RuntimeError('boom')")], check=False)
    assert done.returncode == 1
    assert re.search(r"acme \(broken: RuntimeError: boom \(.*acme_plugin.py, line 1\)\)", done.stderr)


def test_a_removed_plugins_name_is_said_to_have_no_plugin(optimzoo, install_plugin):
    folder = install_plugin(GOOD)
    assert "torch.optim:SGD" in optimzoo("show", "Nova", path=[folder]).stdout
    done = optimzoo("show", "Nova", check=False)
    assert done.returncode == 1
    assert "no installed plugin registers 'Nova'" in done.stderr


@pytest.mark.parametrize(
    ("variables", "off", "on"),
    [
        ({"OPTIMZOO_DISABLE_PLUGINS": "acme, lion"}, {"acme", "lion"}, {"torch", "sophia"}),
        ({"OPTIMZOO_PLUGINS": "torch,acme"}, {"lion", "sophia"}, {"torch", "acme"}),
        ({"OPTIMZOO_PLUGINS_AUTOLOAD": "0"}, {"torch", "lion", "acme"}, {"optimzoo"}),
        ({"OPTIMZOO_PLUGINS_AUTOLOAD": "0", "OPTIMZOO_PLUGINS": "torch"}, {"lion", "acme"}, {"torch", "optimzoo"}),
    ],
)
def test_plugins_are_turned_off_by_the_environment(variables, off, on, optimzoo, install_plugin):
    reports, warned = plugins_of(optimzoo, path=[install_plugin(GOOD)], **variables)
    assert {name for name in off if reports[name]["status"] == "disabled"} == off
    assert {name for name in on if reports[name]["status"] == "loaded"} == on
    assert next(iter(variables)) in reports[next(iter(off))]["reason"]
    assert warned == ""


def test_the_name_of_a_disabled_plugin_says_that_it_is_disabled(optimzoo):
    done = optimzoo("show", "Lion", check=False, OPTIMZOO_DISABLE_PLUGINS="lion")
    assert "lion (disabled: OPTIMZOO_DISABLE_PLUGINS names it)" in done.stderr


def test_turning_off_a_plugin_that_is_not_there_is_a_warning(optimzoo):
    _, warned = plugins_of(optimzoo, OPTIMZOO_DISABLE_PLUGINS="lyon")
    assert "names 'lyon', which is not an installed plugin. Did you mean 'lion'?" in warned


def test_two_distributions_with_one_plugin_name_are_both_refused(optimzoo, install_plugin):
    first = install_plugin(GOOD, module="first_plugin")
    second = install_plugin(GOOD, module="second_plugin")
    reports, warned = plugins_of(optimzoo, path=[first, second])
    assert reports["acme"]["status"] == "broken"
    assert "from first-plugin 1.0" in warned
    assert "from second-plugin 1.0" in warned


def test_a_bundled_plugin_keeps_its_name_against_another_distribution(optimzoo, install_plugin):
    done = optimzoo("plugins", "--json", path=[install_plugin(GOOD, name="lion")])
    reports = [(r["distribution"], r["status"]) for r in json.loads(done.stdout) if r["name"] == "lion"]
    assert sorted(reports) == [("lion-plugin", "broken"), ("optimzoo", "loaded")]


def test_a_taken_bare_name_is_reported_with_the_qualified_name_that_is_left(optimzoo, install_plugin):
    code = GOOD.replace('"Nova"', '"Lion"')
    folder = install_plugin(code)
    reports, _ = plugins_of(optimzoo, path=[folder])
    assert reports["acme"]["registered"] == ["acme.Lion"]
    assert reports["acme"]["notes"] == ["Lion is lion.Lion: only acme.Lion leads here"]
    assert "lion_pytorch:Lion" in optimzoo("show", "Lion", path=[folder]).stdout


def test_classes_registered_by_decorators_in_a_plugin_belong_to_it(optimzoo, install_plugin):
    reports, _ = plugins_of(optimzoo, path=[install_plugin(DECORATED)])
    assert (reports["acme"]["status"], reports["acme"]["registered"]) == ("loaded", ["Nova"])
    broken, _ = plugins_of(optimzoo, path=[install_plugin(DECORATED + "\nraise ValueError", name="other")])
    assert broken["other"]["registered"] == []


@pytest.mark.parametrize("first", ["optimzoo.names.zoo.plugins.load()", "import acme_plugin", "retry()"])
@pytest.mark.parametrize(("name", "listed"), [("Nova", "Nova"), ("Lion", "acme.Lion")])
def test_they_belong_to_it_whoever_imports_it_first(name, listed, first, install_plugin, run):
    program = f"""
import optimzoo.names.zoo, sys

def retry():
    sys.fail_once = True
    try:
        import acme_plugin
    except ValueError:
        import acme_plugin

{first}
print([name for name in optimzoo.OPTIMIZERS if optimzoo.OPTIMIZERS.entry(name).plugin == "acme"])
"""
    fails_once = "\nimport sys\nif sys.__dict__.pop('fail_once', False): raise ValueError"
    folder = install_plugin(DECORATED.replace("Nova", name) + fails_once)
    assert run("-W", "error", "-c", program, path=[folder]).stdout == f"['{listed}']\n"


def test_a_plugin_can_add_a_command(optimzoo, install_plugin):
    folder = install_plugin(COMMAND)
    assert optimzoo("greet", "zoo", path=[folder]).stdout == "hello zoo\n"
    assert "greet" in optimzoo("--help", path=[folder]).stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("name: str", "name: int | list[str]"), "raised AssertionError: "),
        (("greet", "train"), "raised PluginError: there is a command 'train' already"),
        (("app.command", "app.callback"), "raised PluginError: "),
    ],
    ids=["a type that typer refuses", "a taken name", "options for all"],
)
def test_a_command_that_cannot_be_added_is_named_and_the_others_work(change, said, optimzoo, install_plugin):
    folders = [install_plugin(COMMAND), install_plugin(COMMAND.replace(*change), name="aaa")]
    done = optimzoo("greet", "zoo", path=folders)
    assert done.stdout == "hello zoo\n"
    assert f"warning: plugin 'aaa' (aaa_plugin, from aaa-plugin 1.0): optimzoo_commands {said}" in done.stderr
    assert "Train the model that CONFIG describes" in optimzoo("train", "--help", path=folders).stdout


INTERRUPTED = "import sys\nif sys.__dict__.pop('interrupt', False): raise KeyboardInterrupt\n"


@pytest.mark.parametrize(
    "code", [INTERRUPTED + GOOD, GOOD + textwrap.indent(INTERRUPTED, "    ")], ids=["at import", "in a hook"]
)
def test_an_interrupted_look_up_is_taken_up_again_by_the_next(code, install_plugin, run):
    program = """
import sys
from optimzoo import OPTIMIZERS

sys.interrupt = True
try:
    len(OPTIMIZERS)
except KeyboardInterrupt:
    print("AdamW" in OPTIMIZERS, "Lion" in OPTIMIZERS, "Nova" in OPTIMIZERS)
"""
    assert run("-W", "error", "-c", program, path=[install_plugin(code)]).stdout == "True True True\n"


def test_an_interrupt_while_plugins_load_ends_the_command_line_quietly(optimzoo, install_plugin):
    done = optimzoo("plugins", path=[install_plugin("raise KeyboardInterrupt")], check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_where_warnings_are_errors_a_broken_plugin_is_one_message_on_the_command_line(run, install_plugin):
    folder = install_plugin("raise RuntimeError('boom')")
    done = run("-W", "error", "-m", "optimzoo", "--version", path=[folder], check=False)
    assert done.returncode == 1
    assert "error: PluginWarning: plugin 'acme'" in done.stderr
    assert "Traceback" not in done.stderr


class Core:
    @hookimpl
    def optimzoo_register(self, zoo):
        zoo.optimizer("Nova", "torch.optim:SGD")


def manager():
    kinds = ("optimizer", "optimizer wrapper", "constructor", "parameter scheduler")
    return PluginManager({kind: Registry(kind, "torch.optim:Optimizer", "one") for kind in kinds}, Core())


def test_a_plugin_that_was_removed_can_be_added_again(monkeypatch):
    monkeypatch.setenv("OPTIMZOO_PLUGINS_AUTOLOAD", "0")
    plugins = manager()
    optimizers = plugins._registries["optimizer"]

    class Brings:
        @hookimpl
        def optimzoo_register(self, zoo):
            zoo.optimizer("Pulsar", "torch.optim:SGD")

    for _ in range(2):
        assert plugins.add(Brings(), "mine").status == "loaded"
        assert list(optimizers) == ["Nova", "Pulsar"]
        plugins.remove("mine")
        assert list(optimizers) == ["Nova"]
    plugins.add(Brings(), "mine")
    with pytest.raises(PluginError, match=r"^there is a plugin 'mine' \(.*Brings.*already$"):
        plugins.add(Brings(), "mine")
    assert list(optimizers) == ["Nova", "Pulsar"]
    with pytest.raises(PluginError, match="there is no plugin 'nine'. Did you mean 'mine'"):
        plugins.remove("nine")


def test_another_thread_waits_until_every_plugin_is_loaded(install_plugin, monkeypatch):
    monkeypatch.setenv("OPTIMZOO_PLUGINS", "slow")
    monkeypatch.syspath_prepend(
        install_plugin("from tests.core.names.test_manager import gate\ngate()\n" + GOOD, "slow")
    )
    plugins, seen = manager(), []
    other = threading.Thread(target=lambda: seen.append(plugins.reports()))

    def gate():
        other.start()
        other.join(0.2)  # in vain: it waits for this import

    monkeypatch.setattr(sys.modules[__name__], "gate", gate, raising=False)
    plugins.load()
    other.join(30)
    assert [r.status for r in seen[0] if r.name == "slow"] == ["loaded"]


def test_a_plugin_that_asks_for_names_while_a_program_imports_it_is_loaded_afterwards(install_plugin, run):
    code = "from optimzoo import OPTIMIZERS\nassert 'Nova' not in OPTIMIZERS and 'Lion' in OPTIMIZERS\n" + GOOD
    program = "import acme_plugin, optimzoo; print('Nova' in optimzoo.OPTIMIZERS)"
    done = run("-W", "error", "-c", program, path=[install_plugin(code)])
    assert done.stdout == "True\n"


def test_where_warnings_are_errors_a_misspelt_variable_leaves_nothing_half_loaded(monkeypatch):
    monkeypatch.setenv("OPTIMZOO_DISABLE_PLUGINS", "lyon")
    plugins = manager()
    with pytest.raises(OptimzooWarning, match="Did you mean 'lion'"):
        plugins.load()
    assert {"lion", "torch"} <= {r.name for r in plugins.reports() if r.status == "loaded"}


def test_a_hook_that_raises_is_named_and_the_others_are_still_called(monkeypatch):
    monkeypatch.setenv("OPTIMZOO_PLUGINS_AUTOLOAD", "0")
    called = []

    class Faulty:
        @hookimpl
        def optimzoo_built(self):
            raise RuntimeError("boom")

    class Sound:
        @hookimpl
        def optimzoo_built(self, model):
            called.append(model)

    plugins = manager()
    assert plugins.add(Sound(), "sound").status == plugins.add(Faulty(), "faulty").status == "loaded"
    with pytest.warns(PluginWarning, match=r"plugin 'faulty' .*: optimzoo_built raised RuntimeError: boom"):
        plugins.call("optimzoo_built", optim_wrapper=1, model=2)
    assert called == [2]


def test_where_warnings_are_errors_the_sound_plugins_are_loaded_all_the_same(install_plugin, monkeypatch):
    monkeypatch.syspath_prepend(install_plugin("raise RuntimeError('boom')", name="aaa"))
    monkeypatch.syspath_prepend(install_plugin(GOOD, name="zzz"))
    plugins = manager()
    with pytest.raises(PluginWarning, match="boom"):
        plugins.load()
    assert {r.name: r.status for r in plugins.reports()} == {
        **{r.name: "loaded" for r in plugins.reports()},
        "aaa": "broken",
    }


DESCRIBED = """
from optimzoo import hookimpl

@hookimpl
def optimzoo_register(zoo):
    notes = {"": "Shines.", "eps": "eps has no effect"}
    zoo.optimizer("Nova", "torch.optim:SGD", licence="CC-BY-NC-4.0", group_keys=["rank"], notes=notes,
                  facts="{module}:facts.json")
"""


def described(install_plugin, text):
    folder = install_plugin(DESCRIBED.replace("{module}", "nova_facts"))
    (folder / "nova_facts").mkdir()
    (folder / "nova_facts" / "__init__.py").touch()
    (folder / "nova_facts" / "facts.json").write_text(text)
    return folder


def test_what_a_plugin_says_of_an_optimizer_is_kept_and_shown(optimzoo, install_plugin, run):
    facts = {"resume": ["fault", "inexact", "lost is the step count"], "state": 4.0}
    measured = {"version": "1.0", "torch": "2.13.0", "date": "2026-11-28", "facts": facts}
    folder = described(install_plugin, json.dumps({"names": {"Nova": {"1.0": measured}}}))
    shown = optimzoo("show", "Nova", path=[folder]).stdout
    assert all(said in shown for said in ("CC-BY-NC-4.0", "rank", "Shines.", "eps has no effect"))
    assert all(said in shown for said in ("measured", "2026-11-28", "resume: inexact (lost is the step count)"))
    (row,) = json.loads(optimzoo("list", "Nova", "--json", path=[folder]).stdout)
    assert (row["licence"], row["group_keys"]) == ("CC-BY-NC-4.0", ["rank"])
    program = """
import json, optimzoo
nova, sgd = map(optimzoo.OPTIMIZERS.entry, ("Nova", "SGD"))
print(json.dumps([nova.facts.rows["resume"], nova.facts.value("state"), nova.facts.version]))
print(sgd.facts.value("lr"))
"""
    assert run("-c", program, path=[folder]).stdout.splitlines() == [json.dumps([facts["resume"], 4.0, "1.0"]), "live"]


@pytest.mark.parametrize("text", ["{", ""])
def test_facts_that_cannot_be_read_are_a_fault_of_the_plugin(text, install_plugin, run):
    program = "import optimzoo; optimzoo.OPTIMIZERS.entry('Nova').facts"
    done = run("-c", program, path=[described(install_plugin, text)], check=False)
    assert "PluginError: the facts in 'nova_facts:facts.json' cannot be read: " in done.stderr
