import pytest

from optimzoo.errors import ConfigError
from optimzoo.groups.patterns import name_pattern, names_any

NAME = "backbone." + "a" * 60 + ".weight"


@pytest.mark.parametrize(
    "pattern",
    [
        r"re:(a+)+b",
        r"re:(a*)*b",
        r"re:(?:a|aa)+b",
        r"re:(a|ab|b)*c",
        r"re:(.*a){20}",
        r"re:((a?){30})a{30}",
        r"re:.*.*.*.*.*.*.*x",
        r"re:(?=(a+)+b).*",
        r"re:([a-z]+\.?)*!",
        r"re:(a+?)+?b",
        "re:" + r"(?:\w|.)" * 25 + "!",
        "re:" + "a?" * 34 + "a" * 34,
        "re:" + "(?:a|aa)" * 30,
        "re:" + "(?:a|aa|aaa|aaaa)" * 7,
        "re:" + "(?:.?)" * 34,
    ],
)
def test_an_expression_that_may_take_for_ever_is_refused(pattern):
    with pytest.raises(ConfigError, match=r"here: .* might try for ever on a name"):
        name_pattern(pattern, "here")


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"re:.*\.layers\.\d+\.(attn|mlp)\..*proj\.weight", "model.layers.3.attn.q_proj.weight"),
        (r"re:(.*\.norm\d?\..*|.*\.bias|.*\.gamma|.*\.beta\..*)", "model.layers.3.norm1.weight"),
        (r"re:(?i)BACKBONE\.(conv|bn)[12](\.weight)?", "backbone.conv1.weight"),
        (r"re:(?!.*head).*", "backbone.conv1.weight"),
        (r"re:layers\.(\d\d?\.)?weight", "layers.weight"),
        (r"re:[abc]+\.(?:q|v)+\.weight", "abc.qv.weight"),
        (r"re:(ab){3}\.weight", "ababab.weight"),
        ("*.a*a*a*a*a*a*weight", NAME),
    ],
)
def test_an_expression_that_is_bounded_matches_as_usual(pattern, name):
    assert names_any(name_pattern(pattern), name)
    assert not names_any(name_pattern(pattern), "head")


@pytest.mark.parametrize("pattern", [r"re:.*a.*a.*a.*!", "*a*a*a*a*a*a*a*a*!", r"re:\w*\w*\w*\w*!"])
def test_the_slowest_that_is_allowed_comes_to_an_end(pattern):
    assert not names_any(name_pattern(pattern), NAME)


@pytest.mark.parametrize("pattern", ["re:(", "re:[", "re:a{99999999999}", "re:" + "(" * 3000 + ")" * 3000, "re:*"])
def test_what_is_no_expression_is_told(pattern):
    with pytest.raises(ConfigError, match="here: .* (is no regular expression|characters is wanted)"):
        name_pattern(pattern, "here")
