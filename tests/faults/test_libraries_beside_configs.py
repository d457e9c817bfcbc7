"""Libraries and the folder of a config: neither is taken for the other."""

import importlib
import importlib.util
import re
import sys

import pytest

from optimzoo.errors import ConfigError, OptimzooError
from optimzoo.names.entry import import_dotted
from optimzoo.names.trust import Trust, UnseenError, under
from optimzoo.names.zoo import OPTIMIZERS
from tests.faults.data_configs import checked, prepared


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
    print(asking.found, asking.asked, importlib.util.find_spec("optional_thing") is not None)
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
    asking += "    found = importlib.util.find_spec('optional_thing') is not None\n"
    asking += "try:\n    asked = bool(__import__('optional_' + 'thing'))\nexcept ImportError:\n    asked = None"
    (tmp_path / "site-packages" / "asking.py").write_text(asking)
    (tmp_path / "folder" / "optional_thing.py").touch()
    (tmp_path / "folder" / "own_thing.py").write_text("import optional_thing")
    (tmp_path / "folder" / "other_thing.py").write_text("value = 7")
    assert run("-c", LOOKS, cwd=tmp_path).stdout.split() == [
        *("False", "None", "True"),
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
