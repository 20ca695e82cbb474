"""Cost exports as CSV files: how rows become text, and how text is read again.

Numbers are written out in full, moments in UTC with a Z, and null as an empty field. Names are
left as they are, as the specification wants it: the file is for programs, not for spreadsheets.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TextIO

from gateway.ledger.focus import HEADING, Row, Value
from gateway.ledger.focus_rules import Text

_PART = 64 * 1024
"""Characters of a file that are sent at a time."""


def write_csv(rows: Iterable[Row], file: TextIO) -> int:
    """Write a heading and the rows; returns how many rows there were."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADING)
    number = 0
    for row in rows:
        writer.writerow(_fields(row))
        number += 1
    return number


def csv_texts(rows: Iterable[Row]) -> Iterator[str]:
    """The same file in parts, for somebody to whom it is sent while it is made."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADING)
    for row in rows:
        writer.writerow(_fields(row))
        if file.tell() >= _PART:
            yield file.getvalue()
            file.seek(0)
            file.truncate()
    yield file.getvalue()


def read_csv(file: TextIO) -> tuple[Sequence[str], Iterator[Text]]:
    """The heading and the rows of a CSV file. Raises ValueError when it is not one."""
    lines = csv.reader(file, strict=True)
    heading = next(lines, None)
    if not heading:
        raise ValueError("the file is empty")
    return heading, _rows(heading, lines)


def _fields(row: Row) -> list[str]:
    return [as_text(value) or "" for value in row.values()]


def _rows(heading: Sequence[str], lines: Iterator[list[str]]) -> Iterator[Text]:
    while True:
        try:
            line = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"it is not CSV: {error}") from None
        if len(line) != len(heading):
            raise ValueError(f"a row has {len(line)} fields, the heading {len(heading)}")
        yield {name: text or None for name, text in zip(heading, line, strict=True)}


def as_text(value: Value) -> str | None:
    """A value as a cost export says it; null stays None."""
    if isinstance(value, Decimal):
        text = f"{value:f}"
        # A reader that guesses types from the values then takes every such column for decimals.
        return text if "." in text else f"{text}.0"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value
