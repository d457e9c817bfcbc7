"""A config that is data calls what is registered, code of its own folder, and what the user trusts: nothing else."""

import copy
import json
import re
import sys
from pathlib import Path

import pytest
import torch
import typer

from optimzoo.cli.convert_state import convert_state
from optimzoo.cli.groups import groups
from optimzoo.cli.main import app
from optimzoo.cli.names import list_names
from optimzoo.cli.plot import plot
from optimzoo.cli.plugins import plugins
from optimzoo.cli.runs import check, run_config
from optimzoo.cli.show import show
from optimzoo.cli.translate import translate
from optimzoo.cli.vet import vet
from optimzoo.errors import ConfigError, OptimzooError, UnknownNameError
from optimzoo.names.trust import UnseenError
from optimzoo.run.check import config_problems
from tests.faults.data_configs import CODE, FOREIGN, SLOTS, checked, prepared


@pytest.mark.parametrize("slot", SLOTS, ids=lambda slot: ".".join(map(str, slot)))
def test_in_every_slot_a_foreign_name_is_refused_and_by_check_not_even_imported(slot, project):
    before = list(sys.path)
    for name in FOREIGN:
        file = project({slot: name})
        sys.modules.pop("colorsys", None)
        found = checked(file)
        assert "colorsys" not in sys.modules, name
        assert project.module not in sys.modules, name
        assert any(slot[0] in problem.path for problem in found), name
        if not name.startswith("{m}"):
            assert any(slot[0] in p.path for p in found if not isinstance(p, UnseenError)), name
    for name in FOREIGN:
        with pytest.raises(ConfigError) as raised:
            prepared(project({slot: name}))
        assert any(problem.path.startswith(slot[0]) for problem in raised.value.problems), (name, str(raised.value))
        assert "--trust" in str(raised.value) or "is a program" in str(raised.value) or "no class" in str(raised.value)
    assert sys.path == before


@pytest.mark.parametrize("slot", SLOTS, ids=lambda slot: ".".join(map(str, slot)))
@pytest.mark.filterwarnings("ignore:.*was called after:UserWarning", "ignore:optim_wrapper.paramwise_cfg")
def test_what_the_folder_defines_is_taken_and_by_check_looked_at_if_it_is_trusted(slot, project):
    changes = {slot: f"{{m}}:{SLOTS[slot]}"}
    if slot == ("model", "type"):
        changes["model", "in_features"], changes["model", "out_features"] = 3, 1
    if slot == ("optim_wrapper", "constructor"):
        changes["optim_wrapper", "paramwise_cfg"] = {}
    file = project(changes)
    unseen = checked(file)
    assert all(isinstance(problem, UnseenError) for problem in unseen), unseen
    assert any(
        p.path.startswith(slot[0]) and f"not looked at: needs --trust {project.module}" in str(p) for p in unseen
    )
    assert project.module not in sys.modules
    assert checked(file, [project.module]) == []
    assert prepared(file).finished is False


@pytest.mark.parametrize("name", ["{m}:missing", "{m}_not:loss", "not_there:loss", "{m}.deeper:loss"])
def test_a_name_that_is_not_there_is_found_without_an_import(name, project):
    (problem,) = (p for p in checked(project({("loss",): name})) if not isinstance(p, UnseenError))
    assert problem.path == "loss"
    assert project.module not in sys.modules


@pytest.mark.parametrize("ending", [".json", ".yaml"])
def test_plot_imports_nothing_of_it_either(ending, project, capsys):
    changes = {
        ("optim_wrapper", "constructor"): "DefaultOptimWrapperConstructor",
        ("optim_wrapper", "paramwise_cfg"): {},
    }
    file = project(changes, ending)
    with pytest.raises(UnseenError, match=f"--trust {project.module}, or the length of an epoch: --epoch-length N"):
        plot(file, table=True)
    plot(file, table=True, epoch_length=2)
    assert "LinearLR" in capsys.readouterr().out or project.module not in sys.modules
    for slot in (("optim_wrapper", "optimizer", "type"), ("param_scheduler", 0, "type")):
        sys.modules.pop("colorsys", None)
        with pytest.raises(ConfigError, match="not looked at: needs --trust colorsys"):
            plot(project({**changes, slot: "colorsys:rgb_to_hsv"}, ending), table=True, epoch_length=2)
        with pytest.raises(UnseenError, match=f"--trust {project.module}"):
            plot(project({**changes, slot: f"{{m}}:{SLOTS[slot]}"}, ending), table=True, epoch_length=2)
    assert not {"colorsys", project.module} & sys.modules.keys()


def test_plot_calls_what_groups_would_if_it_is_to_build_the_model(project, capsys):
    sys.modules.pop("colorsys", None)
    with pytest.raises(ConfigError, match="colorsys"):
        plot(project({("model", "type"): "colorsys:rgb_to_hsv"}), table=True, epoch_length=2, build_model=True)
    assert "colorsys" not in sys.modules
    plot(project({}), table=True, epoch_length=2, build_model=True)
    assert "depth 0 of 1" in capsys.readouterr().out


@pytest.mark.parametrize("slot", [("model", "type"), ("optim_wrapper", "optimizer", "type")])
def test_groups_calls_what_train_would_for_the_model_and_the_optimizer(slot, project, capsys, tmp_path):
    sys.modules.pop("colorsys", None)
    file = project({slot: "colorsys:rgb_to_hsv"})
    torch.save({"state": {}, "param_groups": []}, tmp_path / "old.pt")
    for command in (groups, lambda config: convert_state(tmp_path / "old.pt", tmp_path / "new.pt", config)):
        with pytest.raises(ConfigError, match="colorsys"):
            command(file)
    assert "colorsys" not in sys.modules
    groups(project({slot: f"{{m}}:{SLOTS[slot]}"}))
    assert "weight" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["colorsys", "colorsys.rgb_to_hsv", "AdamWW"])
def test_show_imports_nothing_for_what_is_neither_a_registered_name_nor_a_path(name):
    sys.modules.pop("colorsys", None)
    with pytest.raises(UnknownNameError):
        show(name)
    assert "colorsys" not in sys.modules


def test_show_imports_the_module_of_a_path_and_calls_nothing(project, tmp_path, optimzoo):
    called = "    def __init__(self, *a, **k): print('called')\n"
    code = f"import torch\nprint('imported')\nclass Told(torch.optim.SGD):\n{called}"
    (tmp_path / "named_on_the_command_line.py").write_text(code)
    done = optimzoo("show", "named_on_the_command_line:Told", cwd=tmp_path)
    assert ("imported" in done.stdout, "called" in done.stdout) == (True, False)
    with pytest.raises(ConfigError, match="none of these"):
        show("colorsys:rgb_to_hsv")


def test_a_package_is_trusted_by_the_command_line_or_the_users_settings_and_by_no_config(project, tmp_path):
    changes = {("train_dataloader", "collate_fn"): "copy:copy"}
    with pytest.raises(
        ConfigError, match=r"^train_dataloader.collate_fn: 'copy:copy' is not called: needs --trust copy"
    ):
        prepared(project(changes))
    assert prepared(project(changes), ["copy"]).train_dataloader.collate_fn is copy.copy
    with pytest.raises(ConfigError, match=r"trust: there is no such key"):
        prepared(project({**changes, ("trust",): ["copy"]}))
    settings = tmp_path / "settings" / "optimzoo" / "settings.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('trust = ["copy"]')
    assert prepared(project(changes)).train_dataloader.collate_fn is copy.copy
    for text, said in (
        ("trust = 3", "names of packages"),
        ("trsut = []", "Did you mean 'trust'"),
        ("trust", "not valid"),
    ):
        settings.write_text(text)
        with pytest.raises(OptimzooError, match=said):
            prepared(project())


@pytest.mark.parametrize(
    ("link", "target", "name"),
    [
        ("linked_code.py", "other_code.py", "linked_code"),
        ("linked_code", "", "linked_code.other_code"),
        ("linked_code/inner.py", "other_code.py", "linked_code.inner"),
        ("linked_code/inner", "", "linked_code.inner.other_code"),
        ("linked_code/inner/__init__.py", "other_code.py", "linked_code.inner"),
    ],
)
def test_a_link_that_leads_out_of_the_folder_is_no_code_of_it(link, target, name, project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other_code.py").write_text("def loss(model, batch): ...")
    file = project({("loss",): f"{name}:loss"})
    (file.parent / link).parent.mkdir(parents=True, exist_ok=True)
    (file.parent / link).symlink_to(tmp_path / "elsewhere" / target)
    with pytest.raises(ConfigError, match=r"^loss: .*needs --trust linked_code"):
        prepared(file)
    with pytest.raises(ConfigError, match=r"is not of the form 'package.module:Name'\.$"):  # nor is it read for a hint
        prepared(project({("loss",): f"{name.replace('.', '/')}.py:loss"}))
    assert not [module for module in sys.modules if module.startswith("linked_code")]


def test_what_is_in_the_folder_is_read_for_a_hint(project):
    with pytest.raises(ConfigError, match=f"Did you mean '{project.module}:loss'"):
        prepared(project({("loss",): "{m}.py:loss"}))


def test_what_is_called_for_the_depth_of_a_layer_is_a_function(project):
    slot = ("optim_wrapper", "paramwise_cfg", "layer_depth")
    constructor = {(*slot[:1], "constructor"): "LayerDecayOptimWrapperConstructor"}
    for name in ("Depth", "depth_object"):
        file = project({**constructor, slot[:2]: {"layer_decay_rate": 0.5, "layer_depth": f"{{m}}:{name}"}})
        with (file.parent / f"{project.module}.py").open("a") as code:
            code.write("\nclass Depth:\n    def __call__(self, name): return 0, 1\ndepth_object = Depth()\n")
        with pytest.raises(ConfigError, match="layer_depth: a function of a parameter's name is wanted"):
            prepared(file)
        sys.modules.pop(project.module)


def test_to_trust_what_a_python_config_names_is_told_to_change_nothing(tmp_path, capfd):
    (tmp_path / "config.py").write_text("train_cfg = dict(max_epochs=1)")
    with pytest.raises(typer.Exit):
        check(tmp_path / "config.py", trust=["timm"])
    assert "--trust changes nothing" in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize(
    "named", ["..", "/", "~", "none", ".hidden", "env/site-packages", "Lib", 3, ["."], "\0", "x" * 5000]
)
def test_a_code_dir_is_the_folder_of_the_config_or_below_it(named, project):
    file = project({("code_dir",): named})
    for folder in (".hidden", "env/site-packages", "Lib"):
        (file.parent / folder).mkdir(parents=True)
    (file.parent / "Lib" / "os.py").touch()  # that of another Python
    with pytest.raises(ConfigError, match=r"^code_dir: "):
        prepared(file)
    with pytest.raises(ConfigError, match=r"^code_dir: "):
        checked(file)


def test_code_below_the_folder_is_found_and_that_elsewhere_if_the_command_line_says_so(project, tmp_path):
    file = project({("code_dir",): "below"})
    below = file.parent / "below"
    below.mkdir()
    (file.parent / f"{project.module}.py").rename(below / f"{project.module}.py")
    assert prepared(file).config["code_dir"] == str(below)
    moved = tmp_path / "moved.json"
    file.rename(moved)
    with pytest.raises(ConfigError, match=r"^code_dir: .*--code-dir"):
        prepared(moved)
    sys.modules.pop(project.module)
    assert prepared(moved, code_dir=below).config["code_dir"] == str(below)
    assert str(below) not in sys.path


LOUD = """
def loud(cls):
    made = cls.__init__
    @functools.wraps(made)
    def init(self, *args, **kwargs):
        print("made", cls.__name__)
        made(self, *args, **kwargs)
    cls.__init__ = init
for cls in (Net, SGD, Wrapper, Constructor, Curve, Told):
    loud(cls)
"""


def test_a_python_config_is_run_and_check_calls_nothing_of_its_own_where_plot_builds_the_data(project, capfd):
    file = project()
    module = file.parent / f"{project.module}.py"
    said = "    print('the data')\n    return TensorDataset"
    module.write_text(CODE.replace("    return TensorDataset", said) + LOUD)
    own = ("SGD", "Wrapper", "Constructor", "Curve")
    changes = {slot: f"{{m}}:{name}" for slot, name in SLOTS.items() if name in own}
    changes["hooks", 0, "type"], changes["model", "type"] = "{m}:Told", "{m}:Net"
    changes["optim_wrapper", "paramwise_cfg"] = {}
    text = project(changes).read_text()
    program = file.with_suffix(".py")
    program.write_text(f"import json\nglobals().update(json.loads({text!r}))\n")
    with run_config(program, None, None, None, looks=True) as cfg:
        assert config_problems(cfg) == []
    said = capfd.readouterr()
    assert "is a Python config: it is being run as a program" in said.err
    assert "made" not in said.out
    assert "the data" not in said.out
    changes["optim_wrapper", "constructor"] = "DefaultOptimWrapperConstructor"
    program.write_text(f"import json\nglobals().update(json.loads({project(changes).read_text()!r}))\n")
    plot(program, table=True)
    assert "the data" in capfd.readouterr().out


@pytest.mark.parametrize("command", [list_names, plugins])
def test_the_commands_without_a_config_import_nothing(command, capfd):
    before = set(sys.modules)
    command(as_json=True)
    assert json.loads(capfd.readouterr().out)
    assert not {name.partition(".")[0] for name in set(sys.modules) - before} & {
        "lion_pytorch",
        "heavyball",
        "colorsys",
    }


def test_train_of_a_python_config_calls_what_it_names(project, capfd):
    text = project({("train_dataloader", "collate_fn"): "copy:copy"}).read_text()
    program = project().with_suffix(".py")
    program.write_text(f"import json\nprint('run')\nglobals().update(json.loads({text!r}))\n")
    assert prepared(program).train_dataloader.collate_fn is copy.copy
    assert capfd.readouterr().out.startswith("run\n")


def test_vet_imports_what_it_is_told_to(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "to_vet.py").write_text("from torch.optim import SGD\nprint('run')")
    vet("to_vet:SGD", only="lr")
    assert capfd.readouterr().err.startswith("run\n")
    sys.modules.pop("to_vet")


def test_translate_imports_what_it_is_told_to(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "to_translate.py").write_text("from torch.optim import SGD\nprint('run')")
    translate("SGD", "to_translate:SGD")
    assert capfd.readouterr().err.startswith("run\n")
    sys.modules.pop("to_translate")


FOREIGN_AND_OWN = (
    test_in_every_slot_a_foreign_name_is_refused_and_by_check_not_even_imported,
    test_what_the_folder_defines_is_taken_and_by_check_looked_at_if_it_is_trusted,
    test_a_package_is_trusted_by_the_command_line_or_the_users_settings_and_by_no_config,
)
PYTHON = test_a_python_config_is_run_and_check_calls_nothing_of_its_own_where_plot_builds_the_data
PROMISES = {
    "train": (test_train_of_a_python_config_calls_what_it_names, *FOREIGN_AND_OWN),
    "check": (PYTHON, *FOREIGN_AND_OWN),
    "convert-state": (test_groups_calls_what_train_would_for_the_model_and_the_optimizer,),
    "groups": (
        test_groups_calls_what_train_would_for_the_model_and_the_optimizer,
        test_train_of_a_python_config_calls_what_it_names,
    ),
    "plot": (
        PYTHON,
        test_plot_imports_nothing_of_it_either,
        test_plot_calls_what_groups_would_if_it_is_to_build_the_model,
    ),
    "list": (test_the_commands_without_a_config_import_nothing,),
    "plugins": (test_the_commands_without_a_config_import_nothing,),
    "show": (
        test_show_imports_nothing_for_what_is_neither_a_registered_name_nor_a_path,
        test_show_imports_the_module_of_a_path_and_calls_nothing,
    ),
    "vet": (test_vet_imports_what_it_is_told_to,),
    "translate": (test_translate_imports_what_it_is_told_to,),
}
"""What each command may import and call, and the tests of it."""


def test_every_command_has_a_row_in_the_docs_and_every_row_a_test():
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    table = text.partition("| command |")[2].partition("\n\n")[0]
    told = [name for row in table.splitlines()[2:] for name in re.findall("`([a-z-]+)`", row.split(" | ")[0])]
    assert sorted(told) == sorted(PROMISES) == sorted(command.name for command in app.registered_commands)
