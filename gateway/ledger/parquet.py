"""Cost exports as Parquet files, for whoever has pyarrow installed (the extra `parquet`).

Nothing imports this module at the top: it is loaded when a Parquet file is asked for, because
pyarrow is larger than all the rest of the gateway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped]
from pyarrow import parquet

from gateway.ledger.focus import HEADING, Row, plain
from gateway.ledger.focus_columns import COLUMNS, VERSION, Kind
from gateway.ledger.focus_files import as_text
from gateway.ledger.focus_rules import Text

GROUP = 50_000
"""Rows that are kept in memory, and written, together."""
_TYPES: dict[Kind, Any] = {
    Kind.DECIMAL: pyarrow.decimal128(38, 15),
    Kind.MOMENT: pyarrow.timestamp("us", tz="UTC"),
    Kind.STRING: pyarrow.string(),
    Kind.KEY_VALUE: pyarrow.string(),
}
"""Fifteen places hold any token at any unit price exactly."""


def write_parquet(rows: Iterable[Row], path: Path) -> int:
    """Write the rows; returns how many there were. Raises OSError."""
    fields = [(name, _type_of(name)) for name in HEADING]
    schema = pyarrow.schema(fields, metadata={"FocusVersion": VERSION})
    left, number = iter(rows), 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(left, GROUP)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
            number += len(group)
    return number


def read_parquet(path: Path) -> tuple[Sequence[str], Iterator[Text]]:
    """The columns and the rows of a file. Raises ValueError when it is not one, and OSError."""
    try:
        file = parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"it is not Parquet: {error}") from None
    return list(file.schema_arrow.names), _rows(file)


def _rows(file: Any) -> Iterator[Text]:
    for batch in file.iter_batches(batch_size=5_000):
        for row in batch.to_pylist():
            yield {name: _text(value) for name, value in row.items()}


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str | Decimal):
        return as_text(plain(value) if isinstance(value, Decimal) else value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return as_text(value.astimezone(UTC))
    return str(value)


def _type_of(name: str) -> Any:
    return _TYPES[COLUMNS[name].kind] if name in COLUMNS else pyarrow.string()
