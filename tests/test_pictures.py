"""The pictures of the site: each can be drawn, is in a page, and each curve is in the gallery."""

import importlib.util
import re

import pytest

from tests.conftest import REPO

spec = importlib.util.spec_from_file_location("site_pictures", REPO / "docs" / "pictures.py")
pictures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pictures)


@pytest.mark.parametrize("name", sorted(pictures.PICTURES.keys() - {"run"}))  # which tests/test_examples.py trains
def test_each_is_drawn(name):
    assert len(pictures.png(pictures.PICTURES[name]())) > 20_000


def test_each_is_in_a_page_and_those_of_the_pages_are_drawn():
    pages = "".join(page.read_text() for page in (REPO / "docs").rglob("*.md"))
    drawn = {f"{name}.png" for name in pictures.PICTURES} | {"groups.svg"}
    assert set(re.findall(r"\]\(pictures/(.*?)\)", pages)) == drawn


def test_the_table_of_groups_is_drawn_and_fetches_nothing():
    drawn = pictures.groups()
    assert drawn.startswith("<svg")
    assert all(told in drawn for told in ("AdamW", "bias_decay_mult"))
    assert not re.search(r"url\(.?http|@import|<image", drawn)


def test_a_curve_that_is_not_in_the_gallery_is_an_error(monkeypatch):
    monkeypatch.delitem(pictures.CURVES, "Poly")
    with pytest.raises(ValueError, match="no picture of Poly"):
        pictures.curves()
