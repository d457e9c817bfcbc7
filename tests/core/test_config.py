import json

import pytest

from optimzoo.config import config_text, load_config, merge
from optimzoo.errors import ConfigError

SAME = {"lr": 1e-4, "betas": [0.9, 0.99], "nested": {"flag": True, "name": "x"}, "list": [{"a": 1}, {"a": 2}]}
TEXTS = {
    "c.toml": 'lr = 1e-4\nbetas = [0.9, 0.99]\nnested = {flag = true, name = "x"}\nlist = [{a = 1}, {a = 2}]\n',
    "c.yaml": "lr: 1e-4\nbetas: [0.9, 0.99]\nnested: {flag: true, name: x}\nlist: [{a: 1}, {a: 2}]\n",
    "c.json": json.dumps(SAME),
    "c.py": "import math\n_private = 1\ndef helper(): ...\nlr = 1e-4\nbetas = [0.9, 0.99]\n"
    "nested = dict(flag=True, name='x')\nlist = [dict(a=1), dict(a=2)]\n",
}


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_file


@pytest.mark.parametrize("name", TEXTS)
def test_every_format_gives_the_same_dict(name, write):
    assert load_config(write(name, TEXTS[name])) == SAME


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("lr=0.5", {**SAME, "lr": 0.5}),
        ("nested.name=AdamW8bit", {**SAME, "nested": {"flag": True, "name": "AdamW8bit"}}),
        ("nested.name='1e-4'", {**SAME, "nested": {"flag": True, "name": "1e-4"}}),
        ("list[1].a=[1, 2]", {**SAME, "list": [{"a": 1}, {"a": [1, 2]}]}),
        ("list.0.b=true", {**SAME, "list": [{"a": 1, "b": True}, {"a": 2}]}),
        ("new.'dotted.key'.x={y = 1}", {**SAME, "new": {"dotted.key": {"x": {"y": 1}}}}),
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
        ("c.py", "lr = 1\n\nlr = 1 / 0\n", "line 3: ZeroDivisionError"),
        ("c.py", "lr = (\n", "line 1: SyntaxError"),
        ("c.ini", "", "its ending is none of"),
    ],
)
def test_a_file_that_cannot_be_read_is_explained(name, text, said, write):
    with pytest.raises(ConfigError, match=said):
        load_config(write(name, text))


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


def test_a_base_that_leads_back_to_itself_is_refused(write):
    write("a.toml", "_base_ = 'b.toml'")
    write("b.toml", "_base_ = 'a.toml'")
    with pytest.raises(ConfigError, match="names itself"):
        load_config(write("a.toml", "_base_ = 'b.toml'"))


def test_merging_leaves_both_sides_as_they_were():
    base, change = {"a": {"x": 1}}, {"a": {"y": 2}}
    assert merge(base, change) == {"a": {"x": 1, "y": 2}}
    assert (base, change) == ({"a": {"x": 1}}, {"a": {"y": 2}})


def test_a_safe_format_runs_no_code(write, tmp_path):
    marker = tmp_path / "ran"
    text = f"!!python/object/apply:os.system ['touch {marker}']"
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(write("c.yaml", f"a: {text}\n"))
    assert not marker.exists()


def test_a_dumped_config_loads_again_with_classes_by_name(tmp_path):
    (tmp_path / "c.yaml").write_text(
        config_text({"type": ConfigError, "betas": (0.9, 0.99), "lr": 1e-5, "model": object()})
    )
    assert load_config(tmp_path / "c.yaml") == {
        "type": "optimzoo.errors:ConfigError",
        "betas": [0.9, 0.99],
        "lr": 1e-5,
        "model": "<builtins.object object>",
    }
