"""Where promtool and Prometheus are, for the tests that run them.

JOBGATE_PROMTOOL names promtool, else it is looked for on PATH; Prometheus lies beside it.
`tests/tools/fetch_promtool.sh DIR` gets both. Where they are missing, the tests that need them
fail in CI; elsewhere they are not collected, and a line says so.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MISSING = (
    "promtool is missing: rules and dashboards are not tried on a real Prometheus "
    "(tests/tools/fetch_promtool.sh DIR, then JOBGATE_PROMTOOL=DIR/promtool)"
)


def promtool() -> Path | None:
    """The program, or None when there is none."""
    found = os.environ.get("JOBGATE_PROMTOOL") or shutil.which("promtool")
    return Path(found) if found else None


def is_left_out() -> bool:
    """Whether tests that need promtool are not collected: it is missing, and this is not CI."""
    return promtool() is None and not os.environ.get("CI")
