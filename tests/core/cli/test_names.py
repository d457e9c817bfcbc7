import json
import re

import pytest
from tests.core.named import PLUGIN
from typer.testing import CliRunner

from optimzoo.cli.main import app
from optimzoo.errors import ConfigError


class TestNames:
    def test_list_finds_names_by_part_pattern_and_alias(self, optimzoo):
        names = {
            pattern: {row["name"] for row in json.loads(optimzoo("list", pattern, "--json").stdout)}
            for pattern in ("lion", "DAdapt*", "bnb_Adam", "bitsandbytes", "sophia.soph*")
        }
        assert {"Lion", "Lion8bit", "DAdaptLion", "bitsandbytes.Lion"} <= names["lion"]
        variants = {f"DAdapt{v}" for v in ("AdaGrad", "Adam", "Adan", "Lion", "SGD")}
        assert names["DAdapt*"] == variants | {f"pytorch_optimizer.{name}" for name in variants}
        assert names["bnb_Adam"] == {"bitsandbytes.Adam", "bitsandbytes.AdamW"}
        assert {"AdamW8bit", "Lion8bit", "bitsandbytes.Adam"} <= names["bitsandbytes"], "by their library"
        assert names["sophia.soph*"] == {"Sophia", "SophiaG"}, "by their qualified name"

    def test_list_says_what_is_installed_and_how_to_install_the_rest(self, optimzoo, tmp_path):
        assert "not installed" not in optimzoo("list", "SophiaG").stdout
        rows = json.loads(optimzoo("list", "Lion", "--json").stdout)
        assert {row["install"] for row in rows if row["name"] == "Lion"} == {"pip install 'optimzoo[lion]'"}

    def test_list_covers_every_kind_and_can_be_held_to_one(self, optimzoo):
        kinds = {row["kind"] for row in json.loads(optimzoo("list", "--json").stdout)}
        assert kinds == {"optimizer", "wrapper", "constructor", "scheduler", "hook", "strategy"}
        rows = json.loads(optimzoo("list", "--kind", "constructor", "--json").stdout)
        assert {row["kind"] for row in rows} == {"constructor"}
        assert {row["name"] for row in rows} >= {"DefaultOptimWrapperConstructor", "LayerDecayOptimWrapperConstructor"}

    def test_list_has_the_facts_of_each_optimizer_or_why_there_are_none(self, optimzoo):
        rows = {row["name"]: row for row in json.loads(optimzoo("list", "--kind", "optimizer", "--json").stdout)}
        assert len(rows) >= 300
        assert rows["AdamW"]["facts"]["resume"] == ["fine", "exact"]
        assert rows["AdamW"]["version"].startswith("2.")
        assert rows["Parts"]["measured"] == "its facts are those of its parts"
        assert {name for name, row in rows.items() if "facts" not in row} == {"HybridAdam", "Parts"}
        assert rows["HybridAdam"]["measured"].startswith("No extra has it")

    def test_list_says_so_when_nothing_matches(self, optimzoo):
        done = optimzoo("list", "lyon", check=False)
        assert (done.returncode, "Did you mean 'Lion'?" in done.stdout) == (1, True)
        assert optimzoo("list", "--kind", "optimiser", check=False).returncode == 2

    def test_list_imports_no_library(self, run):
        code = """
import sys
sys.argv = ["optimzoo", "list"]
try:
    from optimzoo.cli import main; main()
except SystemExit:
    pass
print([m for m in ("torch", "bitsandbytes", "transformers", "dadaptation", "lion_pytorch") if m in sys.modules])
"""
        assert run("-c", code).stdout.splitlines()[-1] == "[]"

    def test_show_tells_all_there_is_to_know(self, optimzoo):
        shown = " ".join(optimzoo("show", "Sophia2").stdout.split())
        for fact in (
            "sophia.Sophia",
            "DecoupledSophia, Sophia2",
            "https://arxiv.org/abs/2305.14342",
            "the wrapper runs the estimate",
            "betas = (0.965, 0.99)",
        ):
            assert fact in shown
        assert re.search(r"library: +lion_pytorch 0\.\d", optimzoo("show", "Lion").stdout)
        assert "start_factor = 0.333" in optimzoo("show", "LinearLR").stdout

    def test_show_of_a_missing_library_says_how_to_install_it(self, optimzoo, run, tmp_path):
        code = "import sys; sys.modules['lion_pytorch'] = None; sys.argv = ['optimzoo', 'show', 'Lion']\n"
        done = run("-c", code + "from optimzoo.cli import main; main()")
        assert "lion_pytorch (not installed)" in done.stdout
        assert "pip install 'optimzoo[lion]'" in done.stdout

    def test_a_missing_library_is_listed_with_what_installs_it_if_that_is_known(self, optimzoo, install_plugin):
        folder = install_plugin(PLUGIN.format(target="no_such_library:Nova", more="extra='nova'"))
        listed = optimzoo("list", "nova", path=[folder]).stdout
        assert re.search(r"Nova +│ no_such_library", listed)
        assert "(not installed)" in listed
        assert "to install what is missing: pip install 'acme-plugin[nova]'" in listed
        assert "pip install 'acme-plugin[nova]'" in optimzoo("show", "Nova", path=[folder]).stdout
        (folder / "acme_plugin.py").write_text(PLUGIN.format(target="no_such_library:Nova", more=""))
        assert "pip" not in optimzoo("list", "nova", path=[folder]).stdout
        assert "pip" not in optimzoo("show", "Nova", path=[folder]).stdout

    def test_show_of_a_library_that_fails_to_import_says_why(self, optimzoo, install_plugin):
        folder = install_plugin(PLUGIN.format(target="faulty_library:Nova", more="extra='nova'"))
        (folder / "faulty_library.py").write_text("raise OSError('no driver')")
        shown = " ".join(optimzoo("show", "Nova", path=[folder]).stdout.split())
        assert "OSError: no driver" in shown
        assert "The library is installed" in shown
        assert "pip" not in shown

    def test_show_of_a_name_that_two_plugins_claim_shows_both(self, optimzoo, install_plugin):
        folders = [
            install_plugin(PLUGIN.format(target=target, more=""), name)
            for name, target in (("acme", "torch.optim:SGD"), ("other", "torch.optim:Adam"))
        ]
        shown = optimzoo("show", "Nova", path=folders).stdout
        assert re.findall(r"class: +(\S+)", shown) == ["torch.optim:SGD", "torch.optim:Adam"]

    @pytest.mark.parametrize("command", [["list"], ["plugins"], ["show", "LBFGS"]], ids=" ".join)
    def test_everything_fits_into_eighty_columns(self, command, optimzoo):
        lines = optimzoo(*command, COLUMNS="80").stdout.splitlines()
        assert max(map(len, lines)) <= 80
        assert not [line for line in lines if "…" in line]

    def test_show_of_a_path_tells_what_a_class_says_of_itself(self, optimzoo, tmp_path):
        (tmp_path / "mine.py").write_text(
            "import torch\nfrom optimzoo import Hook\n"
            "class Wobble(torch.optim.SGD):\n    'Wobbles.'\n    def train(self): ...\n    def eval(self): ...\n"
            "class Told(Hook):\n    'Tells.'\n"
        )
        shown = " ".join(optimzoo("show", "mine:Wobble").stdout.split())
        for fact in ("kind: optimizer", "about: Wobbles.", "call optimizer.train()", "lr = 0.001", "vet mine:Wobble"):
            assert fact in shown
        assert "kind: hook class: mine:Told" in " ".join(optimzoo("show", "mine:Told").stdout.split())
        assert "qualified name: torch.SGD" in " ".join(optimzoo("show", "torch.optim:SGD").stdout.split())
        assert "there is no module 'nope'" in optimzoo("show", "nope:X", check=False).stderr

    def test_show_of_an_unknown_name_says_what_is_near(self, optimzoo):
        done = optimzoo("show", "Lyon", check=False)
        assert (done.returncode, "Did you mean 'Lion'?" in done.stderr) == (1, True)


def test_the_plugins_are_listed_with_what_they_registered(optimzoo):
    shown = optimzoo("plugins").stdout
    assert "LayerDecayOptimWrapperConstructor" in shown
    assert "Adafactor is transformers.Adafactor: only torch.Adafactor leads here" in shown


def test_every_target_of_the_bundled_plugins_loads(optimzoo):
    done = optimzoo("plugins", "--load", "--json", check=False)
    faults = [fault for report in json.loads(done.stdout) for fault in report["faults"]]
    assert faults == []


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("torch.optim:Nova", "has no 'Nova'"),
        ("torch.nn:Linear", "torch.nn.modules.linear:Linear cannot be used as an optimizer"),
        ("acme_plugin:nova", "cannot be used as an optimizer"),
        ("no_such_library:Nova", "'no_such_library', which is not installed"),
        ("faulty_library:Nova", "OSError: no driver"),
    ],
)
def test_every_target_is_imported_on_demand_and_what_is_wrong_is_told(target, said, optimzoo, install_plugin):
    folder = install_plugin(PLUGIN.format(target=target, more="") + "\ndef nova(): ...\n")
    (folder / "faulty_library.py").write_text("raise OSError('no driver')")
    alone = dict(path=[folder], check=False, OPTIMZOO_PLUGINS="acme")  # the others are loaded above
    assert said not in optimzoo("plugins", **alone).stdout
    done = optimzoo("plugins", "--load", "--json", **alone)
    faults = {report["name"]: report["faults"] for report in json.loads(done.stdout)}
    assert done.returncode == 1
    assert len(faults["acme"]) == 1
    assert said in faults["acme"][0]
    assert said in " ".join(optimzoo("plugins", "--load", **alone).stdout.split())


NAMESAKES = """
from optimzoo import hookimpl

@hookimpl
def optimzoo_register(zoo):
    zoo.optimizer("Muon", "no_such_library:Muon", bare=False)
    zoo.optimizer("AdamW", "torch.optim:SGD", facts="{module}:facts.json")
    zoo.optimizer("Pulsar", "torch.optim:SGD", bare=False)
"""


class TestNamesakes:
    def test_show_lists_all_that_is_called_so_with_its_library_and_how_it_differs(self, optimzoo, install_plugin):
        folder = install_plugin(NAMESAKES.replace("{module}", "nova_facts"))
        (folder / "nova_facts").mkdir()
        (folder / "nova_facts" / "__init__.py").touch()
        measured = dict(version="2.0", torch="2.13.0", date="2026-11-28")
        measured["facts"] = {"decay": "wd·w", "resume": "exact", "other": "x"}
        (folder / "nova_facts" / "facts.json").write_text(json.dumps({"names": {"AdamW": {"2.0": measured}}}))
        shown = optimzoo("show", "Muon", path=[folder]).stdout
        assert re.search(r"class: +torch\.optim:Muon", shown)
        assert "acme.Muon:" in shown
        assert "no_such_library (not installed): not measured" in shown
        assert re.search(r"pytorch_optimizer\.Muon: +pytorch_optimizer \d", shown)
        shown = optimzoo("show", "AdamW", path=[folder]).stdout
        assert re.search(r"acme\.AdamW: +torch \S+: decay: wd·w \(above lr·wd·w\) +\n", shown)

    def test_show_of_a_name_that_is_only_qualified_says_so(self, optimzoo, install_plugin):
        folder = install_plugin(NAMESAKES)
        shown = optimzoo("show", "Pulsar", path=[folder]).stdout
        assert re.search(r"^called Pulsar\n +acme\.Pulsar:", shown, re.MULTILINE)
        done = optimzoo("show", "acme.Pulsar", path=[folder]).stdout
        assert "called" not in done


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("resme=exact", "there is no fact 'resme'. Did you mean 'resume'?"),
        ("elementwise resume=exat", "has resume=exat. Did you mean 'exact'?"),
        ("resume=falt", "has resume=falt. Did you mean 'fault'?"),
        ("stat<=4", "there is no fact 'stat'. Did you mean 'state'"),
        ("groups=same", "there is no fact 'groups'. Did you mean 'groups.added', 'groups.keys', 'groups.merge'"),
        ("state<=x", "a number is wanted after state<=, got 'x'"),
        ("kernels=quick", 'loop, "loop foreach", "loop foreach fused", note'),
        ("kernels='loop", "cannot be read: No closing quotation"),
        ("nothing", "there is no fact 'nothing'. Measured are "),
    ],
)
def test_a_misspelt_condition_is_told_with_what_is_near(where, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        CliRunner().invoke(app, ["list", "--where", where], catch_exceptions=False)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("resume=fine", True),
        ("resume=fault", False),
        ("resume!=fine", False),
        ("kernels='loop foreach fused', resume=exact", True),
        ('elementwise kernels="loop foreach"', False),
    ],
)
def test_a_verdict_is_a_value_and_several_words_in_quotes(where, found):
    done = CliRunner().invoke(app, ["list", "torch.adamw", "--kind", "optimizer", "--where", where])
    assert ("AdamW" in done.stdout, "no name matches" in done.stdout, done.exit_code) == (found, not found, not found)


def test_ten_thousand_names_are_listed_row_by_row(optimzoo, install_plugin):
    many = (
        PLUGIN.format(target="torch.optim:SGD", more="")
        + """
    for i in range(10_000):
        zoo.optimizer(f"Nova{i}", f"torch.optim:Nova{i}", about="Bright", aliases=[f"N{i}"])
"""
    )
    folder = install_plugin(many)
    lines = optimzoo("list", "nova*", path=[folder], COLUMNS="60").stdout.splitlines()
    assert sum("Bright" in line for line in lines) == 10_000
    assert {len(line) for line in lines[1:]} == {len(lines[1])}
    assert len(json.loads(optimzoo("list", "nova*", "--json", path=[folder]).stdout)) == 10_001


def test_what_a_pattern_is_is_told_where_none_matches():
    done = CliRunner().invoke(app, ["list", "^ADOPT"], catch_exceptions=False)
    assert done.exit_code == 1
    assert "'^ADOPT'. Did you mean 'ADOPT'? A pattern is a part of a name or library, or" in done.stdout
