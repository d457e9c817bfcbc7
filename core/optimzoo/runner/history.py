"""The record of a run: one row per iteration, one per validation."""

from __future__ import annotations

import csv
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optimzoo.errors import CheckpointError
from optimzoo.runner.atomic import replacing

Row = dict[str, Any]


@dataclass
class _Column:
    rows: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))


class History:
    """Rows of numbers under named columns; a column may be empty in a row.

    Args:
        path: The CSV file that mirrors the rows.

    Example:
        >>> from pathlib import Path
        >>> history = History(Path("metrics.csv"))
        >>> history.append({"iter": 1, "epoch": 1, "loss": 0.5})
        >>> history.append({"iter": 1, "epoch": 1, "val_loss": 0.25})
        >>> history.columns
        ['iter', 'epoch', 'loss', 'val_loss']
        >>> history.column("val_loss")
        [(1, 0.25)]
    """

    def __init__(self, path: Path) -> None:
        self.path = path
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
        """Bring the file up to date: append the new rows, or write all of them if a column is new."""
        whole = self.columns != self._header or not self.path.exists()
        text: dict[str, Any] = {"newline": "", "encoding": "utf-8"}
        with replacing(self.path, "w", **text) if whole else self.path.open("a", **text) as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            if whole:
                writer.writeheader()
            writer.writerows(self.rows(0 if whole else self._written))
        self._header, self._written = self.columns, len(self)

    def load(self, path: Path, until_iter: int) -> None:
        """Read the rows of an interrupted run up to the iteration that it resumes from; a last line cut short is none.

        Raises:
            CheckpointError: The file holds something else than numbers.
        """
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        reader = csv.DictReader(line for line in text.splitlines(keepends=True) if line.endswith("\n"))
        try:
            for texts in reader:
                row = {name: float(value) for name, value in texts.items() if value}
                if row["iter"] <= until_iter:
                    self.append(row)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}, line {reader.line_num}, is not a row of a run ({error}); remove it"
            ) from error

    def __len__(self) -> int:
        return len(self._iters)
