"""Where text goes: to a terminal, a file, or a notebook, whose stream claims to be a terminal."""

import sys

import pytest
from rich.table import Table

from optimzoo.console import FILE_WIDTH, as_html, as_text, make_console


@pytest.fixture
def _notebook(monkeypatch):
    """As in a kernel of Jupyter: rich finds one, and the stream says that it is a terminal."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)


@pytest.mark.usefixtures("_notebook")
def test_in_a_notebook_lines_are_plain_text_of_one_output(capsys):
    console = make_console()
    assert (console.is_jupyter, console.is_terminal) == (False, False)
    console.print("[red]a line", style="bold")
    assert capsys.readouterr().out == "[red]a line\n"
    assert as_text("a table") == "a table"  # without an output of its own, which rich would import IPython for


def test_a_file_gets_wide_tables(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert make_console().width == FILE_WIDTH


def test_a_table_of_html_has_the_cells_and_their_lines_and_no_markup_of_theirs():
    table = Table("a<b", title="t&u")
    table.add_row("x<y\nz")
    assert as_html(table) == (
        "<table><caption>t&amp;u</caption><thead><tr><th>a&lt;b</th></tr></thead>"
        '<tbody><tr><td style="text-align: left">x&lt;y<br>z</td></tr></tbody></table>'
    )


def test_what_a_terminal_would_obey_is_shown(capsys):
    console = make_console()
    console.print("a\x1b[31mred\u202e\tb\nc")
    table = Table("\x9b1m")
    table.add_row("\x07é")
    console.print(table)
    printed = capsys.readouterr().out
    assert "a\\x1b[31mred\\u202e" in printed
    assert "\\x9b1m" in printed
    assert "\\x07é" in printed
    assert not set("\x1b\u202e\x9b\x07") & set(printed)


def test_a_pipe_that_nobody_reads_any_more_is_no_end(run, tmp_path):
    program = """
import subprocess, sys
from optimzoo.console import out
head = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
import os
os.dup2(head.stdin.fileno(), 1)
for number in range(3):
    out.print("a line " * 20000)
    head.wait()
print("went on", file=sys.stderr)
"""
    (tmp_path / "program.py").write_text(program)
    assert "went on" in run("program.py").stderr
