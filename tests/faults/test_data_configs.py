"""A config that is data calls what is registered, code of its own folder, and what the user trusts: nothing else."""

import copy
import importlib
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
import torch
import typer
import yaml

from optimzoo import Runner
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
from optimzoo.names.entry import import_dotted
from optimzoo.names.trust import Trust, UnseenError, under
from optimzoo.names.zoo import OPTIMIZERS
from optimzoo.run.check import config_problems

CODE = """
import colorsys, functools, os
from os import fspath
import torch
from torch import nn
from torch.utils.data import TensorDataset
from optimzoo import DefaultOptimWrapperConstructor, OptimWrapper
from optimzoo.run import Hook, Strategy
from optimzoo.schedules import LinearLR

def data() -> TensorDataset:
    return TensorDataset(torch.randn(8, 3), torch.randn(8, 1))
def loss(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()
def error(model, batch):
    return {"error": loss(model, batch)}
def curvature(model, batch):
    return loss(model, batch), 1
def depth(name):
    return 0, 2
def worker(number): ...
def collate(samples):
    return torch.utils.data.default_collate(samples)
class Net(nn.Linear):
    path = staticmethod(os.fspath)
    hue = colorsys.rgb_to_hsv
    class Inner(nn.Linear): ...
class SGD(torch.optim.SGD): ...
class Wrapper(OptimWrapper): ...
class Constructor(DefaultOptimWrapperConstructor): ...
class Curve(LinearLR): ...
class Told(Hook): ...
class Alone(Strategy): ...
text, part, bound, table = "", functools.partial(os.fspath), "x".join, {"x": len}
"""

CONFIG = {
    "loss": "{m}:loss",
    "metrics": ["{m}:error"],
    "randomness": {"seed": 0},
    "train_cfg": {"max_epochs": 1},
    "model": {"type": "torch.nn:Linear", "in_features": 3, "out_features": 1},
    "train_dataloader": {"batch_size": 4, "dataset": {"type": "{m}:data"}},
    "val_dataloader": {"batch_size": 4, "dataset": {"type": "{m}:data"}},
    "optim_wrapper": {
        "constructor": "LayerDecayOptimWrapperConstructor",
        "optimizer": {"type": "AdamW", "lr": 0.01},
        "paramwise_cfg": {"layer_decay_rate": 0.5, "layer_depth": "{m}:depth"},
    },
    "param_scheduler": [{"type": "LinearLR", "by_epoch": False, "end": 2}],
}

SLOTS = {
    ("model", "type"): "Net",
    ("train_dataloader", "dataset", "type"): "data",
    ("train_dataloader", "collate_fn"): "collate",
    ("train_dataloader", "worker_init_fn"): "worker",
    ("val_dataloader", "dataset", "type"): "data",
    ("loss",): "loss",
    ("metrics", 0): "error",
    ("metrics",): "error",
    ("curvature",): "curvature",
    ("optim_wrapper", "type"): "Wrapper",
    ("optim_wrapper", "constructor"): "Constructor",
    ("optim_wrapper", "optimizer", "type"): "SGD",
    ("optim_wrapper", "paramwise_cfg", "layer_depth"): "depth",
    ("param_scheduler", 0, "type"): "Curve",
    ("hooks", 0, "type"): "Told",
    ("strategy",): "Alone",
    ("strategy", "type"): "Alone",
}
"""Every place of a config that names something by a dotted path, and what in the folder suits it."""

FOREIGN = [
    *("colorsys:rgb_to_hsv", "os:fspath", "builtins:len", "string:Template", "json.tool:main", "torch:sum"),
    *("torch.nn.functional:relu", "optimzoo.__main__:main", "optimzoo.config:load_config"),
    *("{m}:fspath", "{m}:os.fspath", "{m}:os", "{m}:part", "{m}:Net.path", "{m}:Net.hue", "{m}:bound"),
    *("{m}:text", "{m}:text.join", "{m}:table", "{m}:torch.ops.any"),
]
"""What is not of the folder, by whatever path: functions of Python's and of libraries."""


def put(cfg, path, value):
    *above, last = path
    for key, below in zip(above, path[1:]):
        empty = [{}] if below == 0 else {}
        if isinstance(cfg, dict) and not isinstance(cfg.get(key), (dict, list)):
            cfg[key] = empty
        cfg = cfg[key]
    cfg[last] = value


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write a config with changes beside a module of a name of its own, and return its path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    module = f"own_{abs(hash(tmp_path))}"
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / f"{module}.py").write_text(CODE)

    def write(changes=(), ending=".json"):
        cfg = copy.deepcopy(CONFIG)
        for path, value in dict(changes).items():
            put(cfg, path, value)
        file = folder / f"config{ending}"
        file.write_text((json.dumps if ending == ".json" else yaml.safe_dump)(cfg).replace("{m}", module))
        return file

    write.module = module
    yield write
    sys.modules.pop(module, None)


def checked(file, trust=()):
    with run_config(file, None, list(trust), None, looks=True) as cfg:
        return config_problems(cfg)


def prepared(file, trust=(), code_dir=None):
    with run_config(file, None, list(trust), code_dir) as cfg:
        return Runner.from_cfg(cfg)


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


@pytest.mark.parametrize("slot", ["object", "function", "class"])
def test_a_library_of_optimizers_is_not_imported_where_none_is_wanted(slot, monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with under(Trust(libraries=frozenset({"colorsys"}))):
        with pytest.raises(ConfigError, match="needs --trust colorsys"):
            import_dotted("colorsys:rgb_to_hsv", "loss", slot)
        assert "colorsys" not in sys.modules
        with pytest.raises(ConfigError, match="needs --trust colorsys"):
            import_dotted("colorsys:rgb_to_hsv", "optimizer.type", "registered")
        assert "colorsys" in sys.modules


def test_settings_do_not_make_a_module_of_the_folder_known(project, tmp_path):
    settings = tmp_path / "settings" / "optimzoo" / "settings.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'trust = ["{project.module}"]')
    assert any(isinstance(problem, UnseenError) for problem in checked(project()))
    assert project.module not in sys.modules


@pytest.mark.parametrize("own_code_imports_it", [False, True])
def test_a_registered_library_that_is_missing_is_not_taken_from_the_folder(own_code_imports_it, project, monkeypatch):
    file = project({("optim_wrapper", "optimizer", "type"): "Lion"})
    (file.parent / "lion_pytorch.py").write_text("" if own_code_imports_it else "raise SystemExit('it was run')")
    if own_code_imports_it:
        with (file.parent / f"{project.module}.py").open("a") as code:
            code.write("\nimport lion_pytorch\n")
    monkeypatch.setitem(sys.modules, "lion_pytorch", None)
    monkeypatch.delitem(sys.modules, "lion_pytorch")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    wanted = "optim_wrapper.optimizer.type: the library 'lion_pytorch' is not installed, .*needs --trust lion_pytorch"
    assert any(re.match(wanted, str(problem)) for problem in checked(file, [project.module]))
    with pytest.raises(ConfigError, match=wanted):
        prepared(file)


LOOKS = """
import importlib.util, io, pickle, sys
sys.path.insert(0, "site-packages")
from pathlib import Path
from optimzoo.names.trust import modules_in
folder = str(Path("folder").resolve())
with modules_in(folder):
    import asking
    print(asking.found, importlib.util.find_spec("optional_thing") is not None)
    import own_thing
    print(own_thing.optional_thing.__name__, importlib.import_module("other_thing").__name__)
    del sys.modules["other_thing"]
    print(pickle.loads(b"cother_thing\\nvalue\\n."))
    del sys.modules["other_thing"]
try:
    import other_thing
except ImportError:
    print("gone")
"""


def test_a_library_does_not_take_a_module_of_the_folder_for_an_optional_one(run, tmp_path):
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "folder").mkdir()
    asking = "import importlib.util\ntry:\n    import optional_thing\n    found = True\nexcept ImportError:\n"
    asking += "    found = importlib.util.find_spec('optional_thing') is not None"
    (tmp_path / "site-packages" / "asking.py").write_text(asking)
    (tmp_path / "folder" / "optional_thing.py").touch()
    (tmp_path / "folder" / "own_thing.py").write_text("import optional_thing")
    (tmp_path / "folder" / "other_thing.py").write_text("value = 7")
    assert run("-c", LOOKS, cwd=tmp_path).stdout.split() == [
        "False",
        "True",
        "optional_thing",
        "other_thing",
        "7",
        "gone",
    ]


@pytest.mark.parametrize("name", ["wandb", "tree", "tensorflow"])
def test_nor_does_the_run_of_a_config(name, project, monkeypatch):
    if importlib.util.find_spec(name):
        pytest.skip("it is installed")
    hooks = [{"type": "WandbHook", "project": "x"}] if name == "wandb" else []
    file = project(
        {("optim_wrapper", "optimizer"): {"type": "Adafactor", "lr": 0.1, "relative_step": False}, ("hooks",): hooks}
    )
    (file.parent / f"{name}.py").write_text("raise SystemExit('it was run')")
    if hooks:
        with pytest.raises(OptimzooError, match="wandb is not installed"):
            prepared(file)
    else:
        prepared(file)
    assert name not in sys.modules


def test_a_library_that_is_installed_into_the_folder_is_one(project, monkeypatch):
    file = project({("optim_wrapper", "optimizer", "type"): "Lion"})
    (file.parent / "lion_pytorch.py").write_text("from torch.optim import SGD as Lion")
    monkeypatch.setitem(sys.modules, "lion_pytorch", None)
    monkeypatch.delitem(sys.modules, "lion_pytorch")
    OPTIMIZERS.get("AdamW")  # finds the plugins
    importlib.import_module("sympy")  # which torch imports late
    monkeypatch.setattr(sys, "path", [*(p for p in sys.path if "site-packages" not in p), str(file.parent)])
    assert prepared(file).optim_wrapper.optimizer.__class__.__name__ == "SGD"


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
