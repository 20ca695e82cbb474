"""Fail when an installation holds a file that Python would run at every start, unasked.

A `.pth` file, `sitecustomize` or `usercustomize` is how a malicious release of a package gets
to run without being imported. A production installation of Jobgate holds none, so the image
build stops at the first. Run it with `python -I -S`, so that it does not run them itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

EXPECTED: frozenset[str] = frozenset()
"""Names of start-up files that were looked at and found good; `uv sync --no-dev` brings none."""
_CUSTOMIZERS = {"sitecustomize", "usercustomize"}


def unexpected(installation: Path) -> list[Path]:
    """Every start-up file below a folder that is not expected, in order."""
    return sorted(
        path
        for path in installation.rglob("*")
        if (path.suffix == ".pth" or path.name.split(".")[0] in _CUSTOMIZERS)
        and path.name not in EXPECTED
    )


def main(folders: list[str]) -> int:
    """Look through the folders; the exit status is 1 when something was found, else 0."""
    found = [path for folder in folders for path in unexpected(Path(folder))]
    for path in found:
        sys.stderr.write(f"Python would run this at every start, and nobody expects it: {path}\n")
    return 1 if found or not folders else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
