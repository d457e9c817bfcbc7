import json
import math
import sys

import pytest
import torch

from optimzoo.config.load import _Reading, config_text, load_config
from optimzoo.errors import ConfigError

SAME = {"lr": 1e-4, "betas": [0.9, 0.99], "nested": {"flag": True, "name": "x"}, "list": [{"a": 1}, {"a": 2}]}
TEXTS = {
    "c.toml": 'lr = 1e-4\nbetas = [0.9, 0.99]\nnested = {flag = true, name = "x"}\nlist = [{a = 1}, {a = 2}]\n',
    "c.yaml": "lr: 1e-4\nbetas: [0.9, 0.99]\nnested: {flag: true, name: x}\nlist: [{a: 1}, {a: 2}]\n",
    "c.json": json.dumps(SAME),
    "c.py": "import math\n_private = 1\ndef _helper(): ...\nlr = 1e-4\nbetas = [0.9, 0.99]\n"
    "nested = dict(flag=True, name='x')\nlist = [dict(a=1), dict(a=2)]\n",
}


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.mark.parametrize("name", [*TEXTS, "C.TOML"])
def test_every_format_gives_the_same_dict(name, write):
    assert load_config(write(name, TEXTS[name.lower()])) == SAME


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("lr=0.5", {**SAME, "lr": 0.5}),
        ("nested.name=AdamW8bit", {**SAME, "nested": {"flag": True, "name": "AdamW8bit"}}),
        ("nested.name='1e-4'", {**SAME, "nested": {"flag": True, "name": "1e-4"}}),
        ("list[1].a=[1, 2]", {**SAME, "list": [{"a": 1}, {"a": [1, 2]}]}),
        ("list.0.b=true", {**SAME, "list": [{"a": 1, "b": True}, {"a": 2}]}),
        ("new.'dotted.key'.x={y = 1}", {**SAME, "new": {"dotted.key": {"x": {"y": 1}}}}),
        ("nested.'a[0]'.b=1", {**SAME, "nested": {"flag": True, "name": "x", "a[0]": {"b": 1}}}),
        ("nested=package.module:Class", {**SAME, "nested": "package.module:Class"}),
    ],
)
def test_an_override_sets_any_key(override, expected, write):
    assert load_config(write("c.toml", TEXTS["c.toml"]), [override]) == expected


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("lr", "form key=value"),
        ("lr.x=1", "it is 0.0001 and has no key 'x'"),
        ("list[7].a=1", "the list has 2 entries"),
        ("lr=1e-4x", "is not a TOML value"),
        ("a b=1", "is not a key such as"),
        ("# a=1", "is not a key such as"),
        ("schedules[0].end=1", r"^schedules: there is no list to set the entry \[0\] of"),
        ("nested.name=", r"^nested\.name: a value is missing"),
        ("nested.name=1\nlr=2", "more than one TOML value"),
        ("nested.flag=False", r"^nested\.flag: 'False' is not a TOML value\. TOML writes false for False"),
        ("nested=None", "TOML has no None: leave the key out"),
        ("lr=.1", r"TOML writes 0\.1 for \.1"),
        ("betas=(0.9, 0.99)", r"TOML writes \[0\.9, 0\.99\] for \(0\.9, 0\.99\)"),
    ],
)
def test_a_wrong_override_is_explained(override, said, write):
    with pytest.raises(ConfigError, match=said):
        load_config(write("c.toml", TEXTS["c.toml"]), [override])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.toml", "lr = = 1", "not valid TOML: .*line 1"),
        ("c.yaml", "a: [1\nb: 2", "not valid YAML: .*line"),
        ("c.json", '{"a": }', "not valid JSON: .*line 1"),
        ("c.yaml", "- 1\n- 2\n", "holds list, not a table of keys"),
        ("c.yaml", "a: {1: x}\n", "the key 1 in .* is not a string"),
        ("c.yaml", "a:\n  {x: 1, x: 2}\n", "line 2: the key 'x' comes twice"),
        ("c.yaml", "a: {\n", "not valid YAML: .*line 2"),
        ("c.yaml", 'a: !!int ""\n', "not valid YAML"),
        ("c.yaml", "a: !!timestamp x\n", "not valid YAML"),
        ("c.json", "", "not valid JSON: .*line 1"),
        ("c.json", '{"a": 1,\n', "not valid JSON: .*line 2"),
        ("c.json", '{"a": 1, "a": 2}', "the key 'a' comes twice"),
        ("c.yaml", "a: 2020-13-45\n", "not valid YAML: month"),
        ("c.toml", "a = 1\nb = {x = True}", r"line 2, column 10\)\. TOML writes true for True"),
        ("c.toml", "a = -.1", r"TOML writes -0\.1 for -\.1"),
        ("c.toml", "a = (0.9, 0.99)", r"TOML writes \[0\.9, 0\.99\]"),
        ("c.toml", "a = None", "TOML has no None"),
        ("c.json", '{"a": None}', "JSON writes null for None"),
        ("c.yaml", "a: None", "YAML writes null for None"),
        ("c.yaml", "a:\n  b: (0.9, 0.99)", r"line 2, column 6\. YAML writes \[0\.9, 0\.99\]"),
        ("c.yaml", "[" * 3000, "nested too deeply"),
        ("c.json", '{"a": ' * 100_000, "nested too deeply"),
        ("c.py", "lr = 1\n\nlr = 1 / 0\n", r"c\.py failed: .*c\.py:3: ZeroDivisionError"),
        ("c.py", "lr = (\n", r"c\.py:1: SyntaxError"),
        ("c.py", "raise SystemExit(3)", r"c\.py:1: SystemExit: 3"),
        ("c.py", "import json\njson.loads('{')", r"c\.py:2: JSONDecodeError"),
        ("c.toml", "_base_ = 3", "^_base_: the name of a file, or a list of names, is wanted"),
        ("c.toml", "_bases_ = 'b.toml'", "^_bases_: there is no such key.*Did you mean '_base_'"),
        ("c.py", "_bases_ = 'b.toml'", "Did you mean '_base_'"),
        ("c.ini", "", "its ending is none of"),
    ],
)
def test_a_file_that_cannot_be_read_is_explained(name, text, said, write):
    with pytest.raises(ConfigError, match=said):
        load_config(write(name, text))


def test_a_table_of_yaml_may_change_one_that_changes_another(write):
    text = "a: {opt: &opt {<<: &base {lr: 1, wd: 0}, lr: 2}}\nb: {<<: *opt, wd: 1}\n"
    assert load_config(write("c.yaml", text)) == {"a": {"opt": {"lr": 2, "wd": 0}}, "b": {"lr": 2, "wd": 1}}


def test_a_folder_is_not_taken_for_a_file(tmp_path):
    (tmp_path / "digits.toml").mkdir()
    with pytest.raises(ConfigError, match=r"digits\.toml is a folder"):
        load_config(tmp_path / "digits.toml")
    with pytest.raises(ConfigError, match=r"there is no file .*digit\.toml\.$"):
        load_config(tmp_path / "digit.toml")


def test_a_missing_file_is_named_with_a_near_one(write, tmp_path):
    write("digits.toml", "")
    with pytest.raises(ConfigError, match=r"there is no file .*digit\.toml\. Did you mean 'digits\.toml'\?"):
        load_config(tmp_path / "digit.toml")


def test_a_file_that_is_not_text_is_explained(tmp_path):
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "c.toml")


def test_a_base_is_changed_key_by_key_or_replaced(write):
    write("base.toml", "a = 1\n[t]\nx = 1\ny = 2\n[u]\nx = 1\n")
    child = write("child.yaml", "_base_: base.toml\nt: {y: 3}\nu: {_delete_: true, z: 9}\n")
    assert load_config(child) == {"a": 1, "t": {"x": 1, "y": 3}, "u": {"z": 9}}


def test_a_safe_format_has_no_program_as_its_base(write, tmp_path):
    write("base.py", f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ConfigError, match=r"^_base_: .*child\.toml names .*base\.py, but reading TOML runs no code"):
        load_config(write("child.toml", "_base_ = 'base.py'"))
    assert not (tmp_path / "ran").exists()
    write("data.toml", "a = 1")
    assert load_config(write("child.py", "_base_ = 'data.toml'\nb = 2")) == {"a": 1, "b": 2}


def test_a_python_config_imports_the_modules_beside_it_and_keeps_functions_and_classes(write):
    write("beside_the_config.py", "def loss(model, batch):\n    return scale\n\nscale = 3\n")
    before = list(sys.path)
    config = load_config(
        write("c.py", "import math\nfrom beside_the_config import loss\nclass Net: ...\ndef f(): return math.pi\n")
    )
    assert sorted(config) == ["Net", "f", "loss"]
    assert (config["loss"](None, None), config["f"]()) == (3, pytest.approx(3.14159, 1e-5))
    assert sys.path == before


def test_a_library_that_a_python_config_imports_takes_no_module_beside_it_for_an_optional_one(
    write, tmp_path, monkeypatch
):
    for folder in ("site-packages", "configs"):
        (tmp_path / folder).mkdir()
    write("site-packages/asking.py", "try:\n    import optional_thing as found\nexcept ImportError:\n    found = 0")
    write("configs/optional_thing.py", "")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    assert load_config(write("configs/c.py", "from asking import found")) == {"found": 0}


def test_a_base_that_leads_back_to_itself_is_refused(write):
    write("a.toml", "_base_ = 'b.toml'")
    write("b.toml", "_base_ = 'a.toml'")
    with pytest.raises(ConfigError, match="names itself"):
        load_config(write("a.toml", "_base_ = 'b.toml'"))


def test_merging_leaves_both_sides_as_they_were():
    base, change = {"a": {"x": 1}}, {"a": {"y": 2}}
    assert _Reading().merge(base, change) == {"a": {"x": 1, "y": 2}}
    assert (base, change) == ({"a": {"x": 1}}, {"a": {"y": 2}})


def test_a_safe_format_runs_no_code(write, tmp_path):
    marker = tmp_path / "ran"
    text = f"!!python/object/apply:os.system ['touch {marker}']"
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(write("c.yaml", f"a: {text}\n"))
    assert not marker.exists()


def test_the_text_of_a_config_loads_again_with_classes_by_name(write):
    config = {
        "type": ConfigError,
        "betas": (0.9, 0.99),
        "lr": 1e-5,
        "scale": torch.tensor(2.0, dtype=torch.float64).numpy()[()],
        "dtype": torch.float16,
        "device": torch.device("cuda", 1),
        "weight": torch.ones(2),
        "model": object(),
        "loss": lambda model, batch: 0,
        "name": "größer",
    }
    assert load_config(write("c.yaml", config_text(config))) == {
        "type": "optimzoo.errors:ConfigError",
        "betas": [0.9, 0.99],
        "lr": 1e-5,
        "scale": 2.0,
        "dtype": "float16",
        "device": "cuda:1",
        "weight": "<torch.Tensor object>",
        "model": "<builtins.object object>",
        "loss": "<builtins.function object>",
        "name": "größer",
    }


STRINGS = (
    *("12e5", "1e-3", "1_000", "0x1F", "0o7", "08", "+1", "-.5e3", ".nan", ".inf", "1.", "1:30", "2026-01-01"),
    *("None", "()", "(1, 2)", "(.5)", "null", "~", "true", "no", "=", "<<", "", " x ", "a\nb", "\t"),
    *("x: y", "# x", "- a", "*a", "&b", "%c", "@d", "`e", "!!str", "!python", "[a]", "{a}", "'", '"', "\\"),
    *("a\x85b", "a\u2028b", "\ufeffq", "größer"),
)


def test_texts_come_back_as_they_were_whatever_they_look_like(write):
    config = {"list": [*STRINGS], "keys": {text: text for text in STRINGS}, "numbers": [1e-5, 1e22, 10**30, math.inf]}
    assert load_config(write("c.yaml", config_text(config))) == config


@pytest.mark.parametrize(
    "text",
    [
        "{{ fileDirname }}/x",
        "{{_base_.model.depth}}",
        "{{ _base_:train_cfg }}",
        "a {{$DATA:'/data'}}",
        "{{fileExtname}}",
    ],
)
@pytest.mark.parametrize("name", ["c.yaml", "c.py"])
def test_what_mmengine_would_fill_in_is_no_text(text, name, write):
    with pytest.raises(ConfigError, match=r"^model\.path\[0\]: mmengine puts something in the place of ['\"]\{\{"):
        load_config(write(name, f"model = dict(path=[{text!r}])" if name == "c.py" else f'model: {{path: ["{text}"]}}'))
    assert load_config(write("d.yaml", "text: 'a {{ name }} and {{fileless}}'"))


def test_a_merge_is_told_by_true_alone_and_in_files_alone(write):
    write("base.toml", "t = {x = 1}")
    with pytest.raises(ConfigError, match=r"^_delete_: True or False is wanted, got 'false'"):
        load_config(write("child.yaml", "_base_: base.toml\nt: {_delete_: 'false'}"))
    with pytest.raises(ConfigError, match=r"^t\._delete_: it has a meaning in files alone"):
        load_config(write("same.toml", "t = {x = 1}"), ["t._delete_=true"])


def test_a_date_is_written_as_it_is_read(write):
    written = config_text(load_config(write("c.toml", "day = 2026-01-02\nhour = 07:32:00")))
    assert load_config(write("c.yaml", written)) == {"day": "2026-01-02", "hour": "07:32:00"}


def _aliases(first, form):
    """Return YAML in which each line holds the one before nine times."""
    lines = [f"k0: &k0 {first}"]
    lines += [f"k{n + 1}: &k{n + 1} {form.format(', '.join([f'*k{n}'] * 9), n)}" for n in range(7)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", _aliases("[x]", "[{0}]")),
        ("a.yaml", _aliases("{x: 1}", "{{<<: [{0}], y{1}: 1}}")),
        ("a.yaml", "a: " + "[" * 3000 + "]" * 3000),
        ("a.toml", "a = " + "[" * 3000 + "]" * 3000),
        ("a.json", '{"a": ' + "[" * 3000 + "]" * 3000 + "}"),
        ("a.json", '{"a": ' + "9" * 5000 + "}"),
        ("a.json", '{"a": ' + "9" * 400 + "}"),
        ("a.toml", f"{'a' * 1001} = 1"),
    ],
    ids=["aliases", "merges", "deep yaml", "deep toml", "deep json", "digits", "a large number", "a long key"],
)
def test_a_small_file_that_stands_for_a_huge_config_is_refused(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=name):
        load_config(tmp_path / name)


def test_a_base_is_read_once_however_often_it_is_named(tmp_path):
    for n in range(60):
        (tmp_path / f"{n}.toml").write_text(f'_base_ = ["{n + 1}.toml", "{n + 1}.toml"]\nx{n} = {n}\n')
    (tmp_path / "60.toml").write_text("last = 1\n")
    assert len(load_config(tmp_path / "0.toml")) == 61


@pytest.mark.parametrize("key", [".".join("a" * 3000), "a" + "[0]" * 3000, ".".join("a" * 60)])
def test_a_key_on_the_command_line_has_a_depth_too(key, tmp_path):
    (tmp_path / "a.toml").write_text("b = 1\n")
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_config(tmp_path / "a.toml", [f"{key}=1"])
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_config(tmp_path / "a.toml", ["a=" + "[" * 3000 + "]" * 3000])
