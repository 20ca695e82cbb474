"""The bill of materials of the image: what uv.lock says is installed, as CycloneDX 1.6.

    python deploy/sbom.py > jobgate.cdx.json

Made from the lock file alone, so it needs no network and nothing installed, and is the same for
the same lock. It lists what `uv sync --no-dev` may install on any platform, each with every file
that it can come from and that file's SHA-256; extras are added by name: `sbom.py parquet`.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parents[1] / "uv.lock"
OURS = "jobgate"

Package = dict[str, Any]


def bill_of(lock: str, extras: Sequence[str] = ()) -> dict[str, Any]:
    """The bill for the text of a lock file. Raises KeyError for an extra that there is not."""
    packages: dict[str, Package] = {each["name"]: each for each in tomllib.loads(lock)["package"]}
    found: dict[str, set[str]] = {}
    queue: list[tuple[str, tuple[str, ...]]] = [(OURS, tuple(extras))]
    while queue:
        name, wanted = queue.pop()
        needs = _needs(packages[name], wanted)
        before = found.get(name)
        after = (before or set()) | {need["name"] for need in needs}
        if after != before:
            found[name] = after
            queue += [(need["name"], tuple(need.get("extra", ()))) for need in needs]
    ours = packages[OURS]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(hashlib.sha256(lock.encode()).hexdigest()[:32])}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": _reference(ours),
                "name": OURS,
                "version": ours["version"],
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [_component(packages[name]) for name in sorted(found) if name != OURS],
        "dependencies": [
            {
                "ref": _reference(packages[name]),
                "dependsOn": [_reference(packages[need]) for need in sorted(found[name])],
            }
            for name in sorted(found)
        ],
    }


def _needs(package: Package, extras: Iterable[str]) -> list[Package]:
    needs = list(package.get("dependencies", ()))
    for extra in extras:
        needs += package["optional-dependencies"][extra]
    return needs


def _component(package: Package) -> dict[str, Any]:
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
    return {
        "type": "library",
        "bom-ref": _reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": _reference(package),
        "externalReferences": [
            {
                "type": "distribution",
                "url": file["url"],
                "hashes": [{"alg": "SHA-256", "content": file["hash"].removeprefix("sha256:")}],
            }
            for file in files
        ],
    }


def _reference(package: Package) -> str:
    return f"pkg:pypi/{package['name']}@{package['version']}"


if __name__ == "__main__":
    json.dump(bill_of(LOCK.read_text("utf-8"), sys.argv[1:]), sys.stdout, indent=1)
    sys.stdout.write("\n")
