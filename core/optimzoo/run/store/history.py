"""The record of a run: one row per iteration, one per validation."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from optimzoo.console import as_html
from optimzoo.errors import CheckpointError
from optimzoo.run.store.atomic import write

Row = dict[str, Any]

SHOWN = 20
"""Rows that a notebook shows."""

MEASURED = re.compile(r"(\w+_)?val_")
"""How columns begin that validations fill: with the name of other weights than those trained, if it is measured so."""


def measured_with(weights: str, metric: str) -> str:
    """Return the name of a metric measured with the weights of that name.

    Examples:
        >>> measured_with("", "accuracy"), measured_with("ema", "accuracy")
        ('accuracy', 'ema_val_accuracy')
    """
    return f"{weights}_val_{metric}" if weights else metric


def column_of(metric: str) -> str:
    """Return the column of a metric of the validation.

    Examples:
        >>> column_of("accuracy"), column_of("val_accuracy"), column_of("ema_val_accuracy")
        ('val_accuracy', 'val_accuracy', 'ema_val_accuracy')
    """
    return metric if MEASURED.match(metric) else f"val_{metric}"


@dataclass
class _Column:
    rows: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))


class History:
    """Rows of numbers under named columns; a column may be empty in a row.

    Args:
        path: The CSV file that mirrors the rows; one of JSON lines, ``.jsonl``, lies beside it.
        into: Calls what writes into their folder, and again if the folder has to be made anew first.

    Examples:
        >>> from pathlib import Path
        >>> history = History(Path("metrics.csv"))
        >>> history.append({"iter": 1, "epoch": 1, "loss": 0.5})
        >>> history.append({"iter": 1, "epoch": 1, "val_loss": 0.25})
        >>> history.columns
        ['iter', 'epoch', 'loss', 'val_loss']
        >>> history.column("val_loss")
        [(1, 0.25)]
    """

    def __init__(self, path: Path, into: Callable[[Callable[[], None]], None] = lambda write: write()) -> None:
        self.path, self._into = path, into
        self._iters, self._epochs = array("q"), array("q")
        self._columns: dict[str, _Column] = {}
        self._header: list[str] = []
        self._written = 0

    @property
    def columns(self) -> list[str]:
        """The columns, in the order in which they first appeared."""
        return ["iter", "epoch", *self._columns]

    def column(self, name: str) -> list[tuple[int, float]]:
        """Return the iteration and value of each row that has a value in the column."""
        column = self._columns.get(name, _Column())
        return [(self._iters[row], value) for row, value in zip(column.rows, column.values)]

    def epoch_ends(self) -> dict[int, int]:
        """Return the last iteration of each epoch."""
        return dict(zip(self._epochs, self._iters))

    def first_row_of(self, step: int) -> int:
        """Return the number of the first row of an iteration, or where it would be."""
        return bisect_left(self._iters, step)

    def rows(self, start: int = 0) -> Iterator[Row]:
        """Yield each row from number ``start`` on, as a dict of the values that it has."""
        places = {name: bisect_left(column.rows, start) for name, column in self._columns.items()}
        for number in range(start, len(self)):
            row: Row = {"iter": self._iters[number], "epoch": self._epochs[number]}
            for name, column in self._columns.items():
                place = places[name]
                if place < len(column.rows) and column.rows[place] == number:
                    row[name] = column.values[place]
                    places[name] += 1
            yield row

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row with ``iter``, ``epoch`` and other numbers; ``flush`` writes it."""
        for name, value in row.items():
            if name not in ("iter", "epoch"):
                column = self._columns.setdefault(name, _Column())
                column.rows.append(len(self))
                column.values.append(float(value))
        self._iters.append(int(row["iter"]))
        self._epochs.append(int(row["epoch"]))

    def flush(self) -> None:
        """Bring the files up to date: append the new rows, or write all of them if a column is new.

        Raises:
            WriteError: A file cannot be written; the rows are kept for the next time.
        """
        self._into(self._write)

    def _write(self) -> None:
        append = self.columns == self._header and self.path.exists() and self.path.with_suffix(".jsonl").exists()
        rows = list(self.rows(self._written if append else 0))
        table = io.StringIO()
        writer = csv.DictWriter(table, self.columns, lineterminator="\n")
        if not append:
            writer.writeheader()
        writer.writerows(rows)
        self._header = []  # until both files are whole
        write(self.path, table.getvalue(), append)
        numbers = ({name: value if math.isfinite(value) else None for name, value in row.items()} for row in rows)
        write(self.path.with_suffix(".jsonl"), "".join(json.dumps(row) + "\n" for row in numbers), append)
        self._header, self._written = self.columns, len(self)

    def load(self, path: Path, count: int, step: int | None = None) -> None:
        """Read the first ``count`` rows of an interrupted run, or as many as there are; a line cut short is none.

        Args:
            path: The file.
            count: The rows that were written by then.
            step: The iteration of the last of them, if it is known.

        Raises:
            CheckpointError: The file holds something else than numbers, or the rows of another run.
        """
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        reader = csv.DictReader(line for line in text.splitlines(keepends=True) if line.endswith("\n"))
        try:
            for texts in itertools.islice(reader, count):
                self.append({name: float(value) for name, value in texts.items() if value})
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}, line {reader.line_num}, is not a row of a run ({error}); remove it"
            ) from error
        if step is not None and len(self) == count > 0 and self._iters[-1] != step:
            raise CheckpointError(
                f"{path} is the log of another run: its row {count} is of step {self._iters[-1]}, where the "
                f"checkpoint's is {step}; remove it, or bring back the one that belongs to the checkpoint"
            )

    def __len__(self) -> int:
        return len(self._iters)

    def _repr_html_(self) -> str:
        """Return the rows as a table, for a notebook; of many, the first and the last."""
        shown = list(self.rows(max(0, len(self) - SHOWN)))
        if len(self) > SHOWN:
            shown = [*itertools.islice(self.rows(), SHOWN // 4), {}, *shown[SHOWN // 4 :]]
        table = Table(*(Column(name, justify="right") for name in self.columns))
        for row in shown:
            table.add_row(*(f"{row[name]:.6g}" if name in row else "" if row else "…" for name in self.columns))
        return as_html(table)
