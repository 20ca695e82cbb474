"""The JSON Schemas of routes.yaml and of what it includes, for editors.

A test keeps the shipped files fresh:

    python -m gateway.jobs.json_schema > routes.schema.json
    python -m gateway.jobs.json_schema included > included.schema.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

from gateway.jobs.rules import schema, schema_of_included

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def text() -> str:
    """The schema of routes.yaml as it is shipped, with a line break at its end."""
    return _written(schema(), "Jobgate routes.yaml")


def text_of_included() -> str:
    """The schema of an included file as it is shipped."""
    return _written(schema_of_included(), "A file that Jobgate's routes.yaml includes")


def _written(fields: dict[str, Any], title: str) -> str:
    document = {"$schema": DIALECT, **fields, "title": title}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text_of_included() if sys.argv[1:] == ["included"] else text())
