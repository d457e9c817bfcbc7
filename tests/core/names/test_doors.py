import json
import re

import pytest
from tests.install import pip_install

GOOD = """
from optimzoo import hookimpl

@hookimpl
def optimzoo_register(zoo):
    zoo.optimizer("Nova", "torch.optim:SGD")
"""
LIBRARY = """
import torch

class Wobble(torch.optim.SGD):
    pass

class AdamW(torch.optim.SGD):
    pass
"""
FOUNDRY = "[llmfoundry_optimizers]\nwobble = fl_opt:Wobble\nadam_w = fl_opt:AdamW\n"


def reports_of(optimzoo, **kwargs):
    done = optimzoo("plugins", "--json", **kwargs)
    return {report["name"]: report for report in json.loads(done.stdout)}, done.stderr


DAMAGED = {
    "not text": (b"[optimzoo]\nacme = \xff\xfe", "acme_plugin-1.0.dist-info", "cannot be read: .*UnicodeDecodeError"),
    "a line without a value": (b"[console_scripts]\nacme\n", "acme_plugin-1.0.dist-info", "cannot be read: .*Error"),
    "an empty value": (b"[optimzoo]\nacme =\n", "acme", "entry point 'acme' = '' names no module"),
    "a value that is no module": (b"[optimzoo]\nacme = a b!\n", "acme", "= 'a b!' names no module"),
    "no name": (b"[optimzoo]\n = acme_plugin\n", "", "entry point '' = 'acme_plugin' names no module"),
    "two values": (b"[optimzoo]\nacme = acme_plugin\nacme = json\n", "acme", "the plugin name is declared by"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_of_entry_points_is_skipped_and_named(damage, optimzoo, install_plugin):
    content, name, why = DAMAGED[damage]
    folder = install_plugin("x = 1")
    (folder / "acme_plugin-1.0.dist-info" / "entry_points.txt").write_bytes(content)
    reports, warned = reports_of(optimzoo, path=[folder, install_plugin(GOOD, name="sound")])
    assert reports[name]["status"] == "broken"
    assert re.search(why, reports[name]["reason"])
    assert f"warning: plugin '{name}' (" in warned
    assert reports["lion"]["status"] == reports["sound"]["status"] == "loaded"


@pytest.mark.parametrize("metadata", ["", "Metadata-Version: 2.1\n", None])
def test_a_distribution_without_a_name_is_skipped_and_named(metadata, optimzoo, install_plugin):
    folder = install_plugin(GOOD)
    file = folder / "acme_plugin-1.0.dist-info" / "METADATA"
    file.unlink() if metadata is None else file.write_text(metadata)
    reports, _ = reports_of(optimzoo, path=[folder])
    assert "the metadata has no name or no version" in reports["acme_plugin-1.0.dist-info"]["reason"]
    assert reports["lion"]["status"] == "loaded"


def test_a_distribution_that_is_installed_twice_in_one_folder_is_named_and_loaded_once(optimzoo, install_plugin):
    folder = install_plugin(GOOD)
    second = folder / "acme_plugin-2.0.dist-info"
    second.mkdir()
    for file in (folder / "acme_plugin-1.0.dist-info").iterdir():
        (second / file.name).write_text(file.read_text().replace("1.0", "2.0"))
    reports, _ = reports_of(optimzoo, path=[folder, folder])
    assert reports["acme"]["status"] == "loaded"
    (twice,) = (r for r in reports.values() if r["module"] == "entry_points.txt")
    assert "acme-plugin is installed twice" in twice["reason"]


def test_a_distribution_on_the_path_twice_is_one(optimzoo, install_plugin):
    folder = install_plugin(GOOD)
    reports, warned = reports_of(optimzoo, path=[folder, folder, install_plugin(GOOD, "other")])
    assert (reports["acme"]["status"], reports["other"]["status"], warned) == ("loaded", "loaded", "")


class TestOptimizersOfLLMFoundry:
    @pytest.fixture
    def folder(self, install_plugin):
        return install_plugin(LIBRARY, module="fl_opt", distribution="fl-opt", points=FOUNDRY)

    def test_they_are_names_of_their_distribution(self, folder, optimzoo):
        reports, _ = reports_of(optimzoo, path=[folder])
        report = reports["fl_opt"]
        assert (report["status"], report["distribution"], report["version"]) == ("loaded", "fl-opt", "1.0")
        assert report["registered"] == ["fl_opt.Wobble", "fl_opt.AdamW"]
        assert "fl_opt:Wobble" in optimzoo("show", "fl_opt.Wobble", path=[folder]).stdout

    def test_they_build_and_take_no_bare_name(self, folder, run):
        program = """
import optimzoo, sys, torch
print("Wobble" in optimzoo.OPTIMIZERS, "fl_opt" in sys.modules)
model = torch.nn.Linear(1, 1)
for name in ("fl_opt.AdamW", "AdamW"):
    print(type(optimzoo.build_optimizer(model, dict(type=name, lr=0.1))).__module__)
"""
        done = run("-c", program, path=[folder]).stdout.split()
        assert done == ["False", "False", "fl_opt", "torch.optim.adamw"]

    def test_a_distribution_that_pip_built_and_installed_is_one(self, tmp_path, optimzoo, run):
        source, site = tmp_path / "source", tmp_path / "site"
        source.mkdir()
        (source / "fl_opt.py").write_text(LIBRARY)
        (source / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            '[project]\nname = "Fl.Opt"\nversion = "0.3"\n'
            '[project.entry-points.llmfoundry_optimizers]\nwobble = "fl_opt:Wobble"\nadamw = "fl_opt:AdamW"\n'
            '[tool.hatch.build.targets.wheel]\nonly-include = ["fl_opt.py"]\n'
        )
        pip_install(source, site)
        report = reports_of(optimzoo, path=[site])[0]["fl_opt"]
        assert (report["status"], report["distribution"], report["version"]) == ("loaded", "Fl.Opt", "0.3")
        assert sorted(report["registered"]) == ["fl_opt.AdamW", "fl_opt.Wobble"]
        step = """
import torch, optimzoo
model = torch.nn.Linear(1, 1)
wrapper = optimzoo.build_optim_wrapper(model, dict(optimizer=dict(type="fl_opt.Wobble", lr=0.1)))
print(wrapper.update_params(model(torch.ones(1, 1)).sum()).value, type(wrapper.optimizer).__module__)
"""
        assert run("-c", step, path=[site]).stdout.split() == ["updated", "fl_opt"]

    @pytest.mark.parametrize("value", ["fl_opt", "fl opt:X", ""])
    def test_what_is_no_class_is_a_fault_of_that_distribution_alone(self, value, optimzoo, install_plugin):
        points = f"[llmfoundry_optimizers]\nwobble = {value}\n"
        folder = install_plugin(LIBRARY, module="fl_opt", distribution="fl-opt", points=points)
        reports, warned = reports_of(optimzoo, path=[folder])
        assert reports["fl_opt"]["status"] == "broken"
        assert reports["fl_opt"]["registered"] == []
        assert "from fl-opt 1.0" in warned
        assert reports["lion"]["status"] == "loaded"

    def test_a_plugin_of_optimzoos_own_stands_for_the_distribution_of_its_name(self, optimzoo, install_plugin):
        folder = install_plugin(LIBRARY, module="fl_opt", distribution="lion", points=FOUNDRY)
        reports, warned = reports_of(optimzoo, path=[folder])
        assert (reports["lion"]["distribution"], reports["lion"]["status"], warned) == ("optimzoo", "loaded", "")

    def test_they_are_turned_off_like_others(self, folder, optimzoo):
        reports, _ = reports_of(optimzoo, path=[folder], OPTIMZOO_DISABLE_PLUGINS="fl_opt")
        assert reports["fl_opt"]["status"] == "disabled"


class TestDebugging:
    CODE = "import json\n\ndef read():\n    return json.loads('')\n\nread()\n"

    def test_the_reason_is_the_line_of_the_plugins_own_code(self, optimzoo, install_plugin):
        folder = install_plugin(self.CODE)
        reports, _ = reports_of(optimzoo, path=[folder])
        assert reports["acme"]["reason"].startswith("JSONDecodeError: Expecting value")
        assert reports["acme"]["reason"].endswith(f"({folder / 'acme_plugin.py'}, line 4)")

    def test_the_traceback_is_printed_on_demand(self, optimzoo, install_plugin):
        folder = install_plugin(self.CODE)
        assert "Traceback" not in optimzoo("plugins", path=[folder]).stderr
        shown = optimzoo("plugins", path=[folder], OPTIMZOO_TRACEBACK="1").stderr
        assert "Traceback (most recent call last):" in shown
        assert all(f"line {line}, in" in shown for line in (4, 6))

    def test_the_report_keeps_the_exception(self, install_plugin, run):
        program = """
from optimzoo.names.zoo import plugins
(report,) = (r for r in plugins.reports() if r.name == "acme")
print(type(report.error).__name__)
"""
        assert run("-c", program, path=[install_plugin(self.CODE)]).stdout == "JSONDecodeError\n"

    def test_a_hook_that_raises_is_told_with_its_line(self, install_plugin, run):
        code = "from optimzoo import hookimpl\n@hookimpl\ndef optimzoo_built():\n    raise ValueError('boom')\n"
        folder = install_plugin(code)
        program = """
import torch, optimzoo
optimzoo.build_optim_wrapper(torch.nn.Linear(1, 1), dict(optimizer=dict(type="SGD", lr=1)))
"""
        done = run("-c", program, path=[folder])
        assert f"raised ValueError: boom ({folder / 'acme_plugin.py'}, line 4)" in done.stderr


def test_a_filter_of_warnings_that_a_plugin_sets_holds_for_itself_only(install_plugin, run):
    code = "import warnings\nwarnings.simplefilter('error')\n" + GOOD
    folders = [
        install_plugin(code, "aaa"),
        install_plugin("raise RuntimeError('boom')", "bbb"),
        install_plugin(GOOD, "ccc"),
    ]
    program = """
import warnings
from optimzoo.names.zoo import plugins
before = list(warnings.filters)
print({r.name: r.status for r in plugins.reports() if r.name in ("aaa", "bbb", "ccc")})
assert warnings.filters == before
"""
    done = run("-c", program, path=folders)
    assert done.stdout == "{'aaa': 'loaded', 'bbb': 'broken', 'ccc': 'loaded'}\n"


def test_a_plugin_that_waits_for_a_thread_that_lists_names_does_not_wait_for_ever(install_plugin, run):
    code = """
import threading
from optimzoo import OPTIMIZERS

seen = []
thread = threading.Thread(target=lambda: seen.extend(OPTIMIZERS))
thread.start()
thread.join()
assert "Lion" in seen and "Nova" not in seen
"""
    program = """
from optimzoo.names import manager, zoo
manager.PATIENCE = 0.2
print("Nova" in zoo.OPTIMIZERS, [r.reason for r in zoo.plugins.reports() if r.name == "mmm"])
"""
    done = run("-W", "error", "-c", program, path=[install_plugin(code + GOOD, "mmm")])
    assert done.stdout == "True ['']\n"


def test_a_plugin_that_writes_down_a_name_that_a_bundled_one_discovers_does_not_get_it(install_plugin, run):
    folder = install_plugin(GOOD.replace("Nova", "AdamW"))
    program = "import optimzoo as o; print(o.OPTIMIZERS.get('AdamW').__name__, o.OPTIMIZERS.get('acme.AdamW').__name__)"
    assert run("-c", program, path=[folder]).stdout == "AdamW SGD\n"
