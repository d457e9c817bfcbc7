"""The record of a run: one row per iteration, one per validation."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class History:
    """Rows of numbers under named columns; a column may be empty in a row.

    Args:
        path: The CSV file that mirrors the rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._columns: list[str] = []
        self._written = 0

    @property
    def columns(self) -> list[str]:
        """The columns, in the order in which they first appeared."""
        return list(dict.fromkeys(key for row in self.rows for key in row))

    def column(self, name: str) -> list[tuple[int, float]]:
        """Return the iteration and value of each row that has a value in the column."""
        return [(row["iter"], row[name]) for row in self.rows if row.get(name) is not None]

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row; ``flush`` writes it."""
        self.rows.append(dict(row))

    def flush(self) -> None:
        """Bring the file up to date: append the new rows, or write all of them if a column is new."""
        columns = self._columns + [c for row in self.rows[self._written :] for c in row if c not in self._columns]
        columns = list(dict.fromkeys(columns))
        whole = columns != self._columns or not self.path.exists()
        with self.path.open("w" if whole else "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            if whole:
                writer.writeheader()
            writer.writerows(self.rows if whole else self.rows[self._written :])
        self._columns, self._written = columns, len(self.rows)

    def load(self, until_iter: int) -> None:
        """Read the rows of an interrupted run from the file, up to the iteration that it resumes from."""
        self.rows = [row for row in _read(self.path) if row["iter"] <= until_iter] if self.path.is_file() else []
        self._columns, self._written = [], 0

    def __len__(self) -> int:
        return len(self.rows)


def _read(path: Path) -> Iterator[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        for texts in csv.DictReader(file):
            row = {key: float(text) for key, text in texts.items() if text}
            yield {key: int(value) if key in ("iter", "epoch") else value for key, value in row.items()}
