import itertools
import re
import sys

import pytest
import torch

from optimzoo import OPTIM_WRAPPERS, OPTIMIZERS, OptimWrapper
from optimzoo.errors import ConfigError, MissingDependencyError, OptimzooWarning, PluginError, UnknownNameError
from optimzoo.names.entry import Entry, _conditions
from optimzoo.names.registry import Registry

OWN = {"plugin": "lion", "distribution": "optimzoo"}
FOUND = {"plugin": "torch", "distribution": "optimzoo", "discovered": True}
ACME = {"plugin": "acme", "distribution": "acme-zoo"}
OTHER = {"plugin": "other", "distribution": "other-zoo"}


def registry_of(*entries):
    registry = Registry("optimizer", "torch.optim:Optimizer", "a subclass of torch.optim.Optimizer")
    for entry in entries:
        registry.add(entry)
    return registry


@pytest.fixture
def empty():
    return registry_of()


class Mine(torch.optim.SGD):
    """Descent of mine."""


class TestBareNames:
    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    def test_a_bundled_plugin_that_wrote_a_name_down_wins_in_any_order(self, order):
        claims = [Entry("Lion", "a:A", **OWN), Entry("Lion", "b:B", **FOUND), Entry("Lion", "c:C", **ACME)]
        registry = registry_of(*(claims[i] for i in order))
        assert registry.entry("Lion").target == "a:A"
        assert registry.entry("torch.Lion").target == "b:B"
        assert registry.entry("acme.Lion").target == "c:C"

    @pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
    def test_a_bundled_plugin_keeps_what_it_found_by_looking_from_another_that_wrote_it_down(self, order):
        claims = [Entry("AdamX", "a:A", **FOUND), Entry("AdamX", "c:C", **ACME)]
        registry = registry_of(*(claims[i] for i in order))
        assert registry.entry("AdamX").target == "a:A"
        assert registry.entry("acme.AdamX").target == "c:C"

    @pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
    def test_two_other_plugins_make_a_name_an_error_that_lists_both(self, order):
        claims = [Entry("Nova", "a:A", **ACME), Entry("Nova", "b:B", **OTHER)]
        registry = registry_of(*(claims[i] for i in order))
        with pytest.raises(UnknownNameError, match=r"'acme\.Nova' or 'other\.Nova'") as caught:
            registry.get("Nova")
        assert caught.value.suggestions == ["acme.Nova", "other.Nova"]
        assert registry.entry("other.Nova").target == "b:B"
        assert "Nova" not in registry

    def test_an_entry_that_is_not_bare_is_known_by_its_aliases(self):
        registry = registry_of(Entry("Adam", "b:Adam", aliases=("bnb_Adam",), bare=False, **ACME))
        assert registry.entry("bnb_Adam") is registry.entry("acme.Adam")
        assert "Adam" not in registry

    def test_iteration_gives_the_shortest_name_that_leads_to_each_entry(self):
        assert list(registry_of(Entry("Lion", "a:A", **OWN), Entry("Lion", "c:C", **ACME))) == ["acme.Lion", "Lion"]

    def test_adafactor_is_that_of_transformers_and_torchs_has_names_of_its_own(self):
        assert OPTIMIZERS.entry("Adafactor").target == "transformers.optimization:Adafactor"
        assert OPTIMIZERS.get("TorchAdafactor") is OPTIMIZERS.get("torch.Adafactor") is torch.optim.Adafactor


class TestLookUp:
    def test_a_class_and_a_dotted_path_name_themselves(self, empty):
        assert empty.get(Mine) is Mine
        assert empty.get("torch.optim:SGD") is torch.optim.SGD

    @pytest.mark.parametrize("target", [int, "os:system", "torch.nn:Linear", torch.optim.SGD.step])
    def test_what_is_not_an_optimizer_is_refused(self, target, empty):
        with pytest.raises(ConfigError, match="cannot be used as an optimizer: it must be a subclass of torch.optim"):
            empty.get(target)

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            ("torch.optim:SGDD", "has no 'SGDD'. Did you mean 'SGD'"),
            ("no_such_package.x:Y", "there is no module 'no_such_package'"),
            ("torch.no_such_module:Y", "there is no module 'torch.no_such_module'"),
            ("torch optim:Y", "not of the form 'package.module:Name'"),
            ("torch.optim:", "not of the form 'package.module:Name'"),
        ],
    )
    def test_a_dotted_path_that_leads_nowhere_is_explained(self, target, said, empty):
        with pytest.raises(ConfigError, match=said) as caught:
            empty.get(target, "optimizer.type")
        assert caught.value.path == "optimizer.type"

    def test_an_unknown_name_says_where_and_what_is_near(self):
        with pytest.raises(
            UnknownNameError, match=r"^a\.type: there is no optimizer 'Lyon': no installed plugin"
        ) as caught:
            OPTIMIZERS.get("Lyon", "a.type")
        assert caught.value.suggestions == ["Lion"]

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("torch.optim.AdamW", "torch.optim:AdamW"),
            ("task.Mine", "task:Mine"),
            ("task.py:Mine", "task:Mine"),
            ("zoo/task.py:Mine", "zoo.task:Mine"),
            ("lion.Lyon", "lion.Lion"),
        ],
    )
    def test_another_spelling_of_a_dotted_path_leads_to_the_right_one(self, name, meant, tmp_path, monkeypatch):
        for file in (tmp_path / "task.py", tmp_path / "zoo" / "task.py"):
            file.parent.mkdir(exist_ok=True)
            file.write_text("class Mine: ...")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ConfigError, match=re.escape(f"Did you mean '{meant}'?")):
            OPTIMIZERS.get(name)

    @pytest.mark.parametrize(
        "name",
        [
            "torch.optim.AdmaW", "torch.b.AdamW", "mmdet.Nothing", "nowhere.core.Mine", "nowhere.py:Mine",
            "chore.Nothing", "chore.py:Nothing", "zoo.Mine", "zoo.nothing.Mine", "chore.inner", "chore.error",
            "chore..Mine", "colorsys.Mine",
        ],
    )  # fmt: skip
    def test_no_hint_offers_a_name_that_leads_nowhere(self, name, tmp_path, monkeypatch):
        (tmp_path / "chore.py").write_text("def f():\n    inner = 1\ntry: ...\nexcept OSError as error: ...\n")
        (tmp_path / "zoo").mkdir()
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ConfigError) as caught:
            OPTIMIZERS.get(name)
        assert "Did you mean" not in str(caught.value)
        assert "chore" not in sys.modules

    @pytest.mark.parametrize(
        "line", ["class Mine: ...", "Mine = 1", "from x import y as Mine", "if 1:\n    Mine, b = 1"]
    )
    def test_what_a_module_defines_is_offered_without_importing_it(self, line, tmp_path, monkeypatch):
        (tmp_path / "chore.py").write_text(f"raise SystemExit\n{line}\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ConfigError, match="Did you mean 'chore:Mine'"):
            OPTIMIZERS.get("chore.Mine")

    @pytest.mark.parametrize("name", ["Novo", "acme.Novo", "b.Novo"])
    def test_each_name_that_is_offered_leads_to_something(self, name):
        registry = registry_of(
            Entry("Nova", "torch.optim:SGD", **ACME), Entry("Nova", "torch.optim:Adam", **OTHER),
            Entry("Novae", "torch.optim:SGD", **OTHER),
        )  # fmt: skip
        registry.register_module(name="Novas", module=type("Local", (torch.optim.SGD,), {"__module__": "no.such"}))
        with pytest.raises(UnknownNameError) as caught:
            registry.get(name)
        assert caught.value.suggestions
        assert all(registry.get(offered) for offered in caught.value.suggestions)

    @pytest.mark.parametrize("name", ["mmengine.OptimWrapper", "mmdet.OptimWrapper"])
    def test_the_scope_of_another_project_is_left_away_with_a_warning(self, name):
        with pytest.warns(OptimzooWarning, match=f"x.type: there is no plugin .*{name}' is taken for 'OptimWrapper'"):
            assert OPTIM_WRAPPERS.get(name, "x.type") is OptimWrapper
        with pytest.raises(UnknownNameError):
            OPTIMIZERS.get("torch.Lion")

    @pytest.mark.parametrize("name", ["colorsys", "time"])
    def test_a_module_that_is_hidden_by_an_installed_one_is_named(self, name, tmp_path, monkeypatch, empty):
        (tmp_path / f"{name}.py").write_text("class Mine: ...")
        monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
        with pytest.raises(ConfigError, match=rf"has no 'Mine'\. .*{name}\.py is another module '{name}'"):
            empty.get(f"{name}:Mine")

    def test_a_module_that_fails_says_in_which_line(self, tmp_path, monkeypatch, empty):
        (tmp_path / "faulty_task.py").write_text("x = {}\nx['a']\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ConfigError, match=r"importing 'faulty_task' failed: .*faulty_task\.py:2: KeyError: 'a'"):
            empty.get("faulty_task:Mine")

    def test_a_missing_library_says_what_to_install(self):
        registry = registry_of(Entry("Nova", "no_such_library:Nova", extra="nova", **ACME))
        for name in ("Nova", "acme.Nova"):  # what was asked for is what is told
            with pytest.raises(MissingDependencyError, match=rf"^here: '{name}' .* is not installed") as caught:
                registry.get(name, "here")
        assert caught.value.install == "pip install 'acme-zoo[nova]'"

    @pytest.mark.parametrize(
        ("asked", "told"),
        [
            ('nova; python_version < "3" and extra == "nova"', '  # where python_version < "3"'),
            ('nova; python_version >= "3" and extra == "nova"', ""),
            ('nova; extra == "nova"\nRequires-Dist: old; python_version < "3" and extra == "nova"', ""),
            ('nova; python_version < "3"', ""),
            ("what is no requirement; at all", ""),
        ],
    )
    def test_an_extra_that_installs_nothing_on_this_machine_says_where_it_does(
        self, asked, told, tmp_path, monkeypatch
    ):
        folder = tmp_path / "acme_nova-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: acme-nova\nVersion: 1\nRequires-Dist: {asked}\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        _conditions.cache_clear()
        entry = Entry("Nova", "no_such_library:Nova", extra="nova", plugin="acme", distribution="acme-nova")
        assert entry.install == f"pip install 'acme-nova[nova]'{told}"

    def test_where_the_plugin_names_no_extra_no_command_is_guessed(self):
        registry = registry_of(Entry("Nova", "no_such_library:Nova", **ACME))
        with pytest.raises(MissingDependencyError, match="not installed. The plugin does not say what") as caught:
            registry.get("Nova")
        assert caught.value.install == ""

    def test_a_plugin_says_why_no_extra_installs_a_library(self):
        entry = Entry("Nova", "no_such_library:Nova", hint="It wants torch 1. AdamW makes the same updates", **ACME)
        with pytest.raises(MissingDependencyError, match="not installed. It wants torch 1. AdamW makes the same"):
            registry_of(entry).get("Nova")
        assert entry.measured == entry.hint

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            ("import no_such_library", "No module named 'no_such_library'"),
            ("raise RuntimeError('the driver is too old')", "RuntimeError: the driver is too old"),
            ("raise SystemExit(0)", "SystemExit: 0"),
        ],
    )
    def test_a_library_that_fails_to_import_says_why(self, code, said, tmp_path, monkeypatch):
        (tmp_path / "half_broken.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        registry = registry_of(Entry("Nova", "half_broken:Nova", extra="nova", **ACME))
        with pytest.raises(MissingDependencyError, match=f"^here: .*cannot be imported .*{said}") as caught:
            registry.get("Nova", "here")
        assert "The library is installed" in str(caught.value)
        assert caught.value.install == ""

    def test_a_class_that_the_library_does_not_have_is_a_plugin_error(self):
        with pytest.raises(PluginError, match=r"^here: .*torch .* has no 'Nova'") as caught:
            registry_of(Entry("Nova", "torch.optim:Nova", **ACME)).get("Nova", "here")
        assert caught.value.path == "here"

    def test_a_class_that_a_newer_version_brings_says_which(self):
        registry = registry_of(Entry("Nova", "torch.optim:Nova", since="9.1", **ACME))
        with pytest.raises(PluginError, match=r"but torch \S+ has no 'Nova'. It came with torch 9.1"):
            registry.get("Nova")

    def test_an_entry_is_found_by_its_class_without_importing_anything(self):
        assert OPTIMIZERS.entry_of(torch.optim.LBFGS).needs == ("closure", "one_group")
        assert OPTIMIZERS.entry_of(Mine).name == "SGD", "by its nearest base"
        assert OPTIMIZERS.entry_of(int) is None

    @pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
    @pytest.mark.parametrize("name", ["SGD", "AdamW", "LBFGS", "RAdam"])
    def test_a_class_that_another_library_hands_on_is_that_of_its_own(self, name):
        others = pytest.importorskip("pytorch_optimizer")
        cls = getattr(torch.optim, name)
        entry = OPTIMIZERS.entry_of(cls)
        assert (entry.library, "whole" in entry.needs) == ("torch", False)
        assert OPTIMIZERS.owner_of(cls) is entry
        assert hasattr(others, name)


class TestBuild:
    def test_the_config_is_left_as_it_is(self):
        cfg = {"type": "SGD", "lr": 0.1}
        built = OPTIMIZERS.build(cfg, params=[torch.nn.Parameter(torch.zeros(1))])
        assert (type(built), built.defaults["lr"]) == (torch.optim.SGD, 0.1)
        assert cfg == {"type": "SGD", "lr": 0.1}

    def test_the_config_wins_over_defaults_given_in_either_way(self):
        params = [torch.nn.Parameter(torch.zeros(1))]
        built = OPTIMIZERS.build({"type": "SGD", "lr": 0.1}, default_args={"params": params, "lr": 9.0}, momentum=0.5)
        assert (built.defaults["lr"], built.defaults["momentum"]) == (0.1, 0.5)

    @pytest.mark.parametrize(
        ("cfg", "said"),
        [(3, "described by a dict"), ({"lr": 1}, "key 'type' is missing"), ({"typ": "SGD"}, "Is it under 'typ'")],
    )
    def test_a_config_that_names_nothing_is_explained(self, cfg, said):
        with pytest.raises(ConfigError, match=said):
            OPTIMIZERS.build(cfg)

    def test_the_marks_of_mmengine_are_ignored(self):
        cfg = {"type": "SGD", "lr": 0.1, "_scope_": "mmdet", "_delete_": True}
        assert OPTIMIZERS.build(cfg, params=[torch.nn.Parameter(torch.zeros(1))]).defaults["lr"] == 0.1


class TestDecorator:
    def test_a_class_goes_by_its_own_name_and_first_line(self, empty):
        assert empty.register_module()(Mine) is Mine
        assert empty.get("Mine") is Mine
        assert empty.entry("Mine").about == "Descent of mine."

    def test_several_names_lead_to_one_class(self, empty):
        empty.register_module(name=["A", "B"], module=Mine)
        assert empty.get("A") is empty.get("B") is Mine

    def test_a_name_given_twice_is_claimed_once(self, empty):
        empty.register_module(name=["A", "A"], module=Mine)
        assert empty.get("A") is Mine

    def test_a_class_registered_twice_is_listed_under_both_names(self, empty):
        empty.register_module(name="A", module=Mine)
        empty.register_module(name="B", module=Mine)
        assert list(empty) == ["A", "B"]

    def test_a_class_takes_the_name_of_another_by_force(self, empty):
        empty.register_module(module=Mine)
        empty.register_module(name="Mine", module=torch.optim.Adam, force=True)
        assert empty.get("Mine") is torch.optim.Adam
        assert (empty.entry_of(Mine), list(empty)) == (None, ["Mine"])

    @pytest.mark.parametrize("name", ["my:Mine", "", " ", ["Mine", ""]])
    def test_what_can_be_no_name_is_refused(self, name, empty):
        with pytest.raises(ConfigError, match="is no name: one with a colon is a path"):
            empty.register_module(name=name, module=Mine)

    def test_a_taken_name_is_refused_unless_forced_and_the_first_stays_reachable(self):
        registry = registry_of(Entry("Lion", "torch.optim:SGD", **OWN))
        with pytest.raises(ConfigError, match="'Lion' is taken by lion.Lion.*force=True"):
            registry.register_module(name="Lion", module=Mine)
        registry.register_module(name="Lion", module=Mine, force=True)
        registry.register_module(name="Lion", module=Mine, force=True)
        assert registry.get("Lion") is Mine
        assert registry.get("lion.Lion") is torch.optim.SGD

    def test_a_class_that_is_defined_again_replaces_itself(self, empty):
        def cell(lr):
            class Mine(torch.optim.SGD):
                default = lr

            return empty.register_module(name=["Mine", "Ours"])(Mine)

        first, second = cell(1), cell(2)
        assert first is not second
        assert empty.get("Mine") is empty.get("Ours") is second
        assert len(empty) == 1

    def test_another_class_of_that_name_does_not_replace_it(self, empty):
        empty.register_module(name="Mine", module=torch.optim.SGD)
        with pytest.raises(ConfigError, match="'Mine' is taken"):
            empty.register_module()(Mine)

    def test_forgotten_parentheses_are_explained(self, empty):
        with pytest.raises(ConfigError, match="with parentheses"):
            empty.register_module(Mine)

    def test_what_is_of_another_kind_is_refused(self, empty):
        with pytest.raises(ConfigError, match="it must be a subclass of"):
            empty.register_module(module=int)
        with pytest.raises(ConfigError, match="^5 cannot be used as an optimizer"):
            empty.register_module(module=5)


def test_names_are_looked_up_without_importing_their_libraries(run):
    code = """
import sys, optimzoo
from optimzoo_plugins.library import libraries
modules = {row["module"].partition(".")[0] for row in libraries().values()}
print(len(modules), sorted(modules & sys.modules.keys()))
assert len(optimzoo.OPTIMIZERS) > 300 and "Lion" in optimzoo.OPTIMIZERS
print(len(optimzoo.OPTIM_WRAPPER_CONSTRUCTORS), sorted(modules & sys.modules.keys()))
"""
    first, second = run("-c", code).stdout.splitlines()[:2]
    assert (first.partition(" ")[2], second.partition(" ")[2]) == ("[]", "[]")
    assert int(first.partition(" ")[0]) > 20
    assert "torch" in sys.modules  # the same look-up would be no test in this process


@pytest.mark.parametrize("name", ["x." * 20_000 + "AdamW", "A" * 500, "a." * 5000 + "a:b", "task" + ".a" * 2100 + ":b"])
def test_a_name_longer_than_any_that_there_is_is_told_at_once(name):
    with pytest.raises(ConfigError, match="^here: a name of at most 1000 characters, 200 between dots, is wanted"):
        OPTIMIZERS.get(name, "here")
