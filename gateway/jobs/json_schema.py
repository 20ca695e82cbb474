"""The JSON Schema of routes.yaml, for editors; a test keeps the shipped file fresh.

python -m gateway.jobs.json_schema > routes.schema.json
"""

from __future__ import annotations

import json
import sys

from gateway.jobs.schema import schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def text() -> str:
    """The schema as it is shipped, with a line break at its end."""
    document = {"$schema": DIALECT, **schema(), "title": "Jobgate routes.yaml"}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
