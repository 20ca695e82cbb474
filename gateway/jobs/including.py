"""Rules that are split over several files: what is included, by whom it is owned, and prompts.

routes.yaml names the files that it includes, each with its owner. An included file has jobs,
models, aliases, teams and budgets; providers, alerts and the organisation stand in routes.yaml
alone, because who can name an address decides where prompts may go. Nothing is overridden: what
stands in two files is an error that names both places. After this step the rules are one document
whose every part still knows the file and the line it came from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.errors import ConfigurationError
from gateway.jobs.document import Document, read
from gateway.jobs.files import Files, Unreadable, is_safe
from gateway.jobs.problems import Problems, nearest

INCLUDED = ("models", "jobs", "aliases", "teams", "budgets")
"""The sections that an included file may have."""
INCLUDES_MAX = 64
PROMPT_MAX = 100_000
"""Characters of one prompt."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def include(document: Document, files: Files, problems: Problems) -> dict[str, str]:
    """Put what is included into the document; returns the owner of each included file."""
    whole = document.value
    owners: dict[str, str] = {}
    if not isinstance(whole, dict) or not isinstance(whole.get("include"), list):
        return owners
    for index, entry in enumerate(whole["include"][:INCLUDES_MAX]):
        name = entry.get("file") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not is_safe(name):
            continue  # its shape is wrong, and that is told with the shape of everything else
        if name in owners or name == files.root:
            problems.add(("include", index, "file"), f"{name} is included already")
            continue
        owners[name] = str(entry.get("owner", ""))
        problems.has_file(name)
        try:
            part = read(files.text(name), name)
        except Unreadable as error:
            if error.line is None:
                problems.add(("include", index, "file"), f"{name} cannot be read: {error}")
            else:
                problems.add((), str(error), line=error.line, file=name)
        except ConfigurationError as error:
            problems.tell(name, error.problems)
        else:
            _merge(document, name, part, owners[name], problems)
    return owners


def _merge(whole: Document, name: str, part: Document, owner: str, problems: Problems) -> None:
    """Add the entries of an included file, which are the file's from then on."""
    assert isinstance(whole.value, dict)  # noqa: S101 - asked by the caller
    for line, path, said in part.problems:
        problems.add(path, said, line=line, file=name)
    if not isinstance(part.value, dict):
        said = f"an included file must be a mapping with some of {', '.join(INCLUDED)}"
        problems.add((), said, line=1, file=name)
        return
    for section, entries in part.value.items():
        line = part.lines[section,]
        if section not in INCLUDED:
            problems.add((section,), _not_here(section), line=line, file=name)
        elif not isinstance(entries, dict):
            problems.add((section,), "must be a mapping", line=line, file=name)
        else:
            there = whole.value.setdefault(section, {})
            if isinstance(there, dict):
                _add(section, there, entries, (part, name, owner), (whole, problems))


def _not_here(section: str) -> str:
    if section in ("version", "organisation", "providers", "alerts", "include"):
        return f"stands in routes.yaml alone; an included file has {', '.join(INCLUDED)}"
    return f"there is no such field{nearest(section, INCLUDED)}"


def _add(
    section: str,
    there: dict[str, Any],
    entries: Mapping[str, Any],
    source: tuple[Document, str, str],
    target: tuple[Document, Problems],
) -> None:
    (part, name, owner), (whole, problems) = source, target
    for key, value in entries.items():
        here = (section, key)
        line = part.lines[here]
        if key in there:
            said = f"is there already: {problems.place(here)}"
            problems.add(here, said, line=line, file=name)
            continue
        if section == "jobs" and isinstance(value, dict) and owner:
            value.setdefault("owner", owner)
        there[key] = value
        problems.belongs(here, name)
        whole.lines.setdefault((section,), line)
    taken = [path for path in part.lines if path[:1] == (section,) and len(path) > 1]
    for path in taken:
        if problems.file_of(path) == name:
            whole.lines[path] = part.lines[path]


def read_prompts(document: Document, files: Files, problems: Problems) -> None:
    """Put the text of each `system: {file: NAME}` in its place."""
    jobs = document.value.get("jobs") if isinstance(document.value, dict) else None
    for job, section in (jobs if isinstance(jobs, dict) else {}).items():
        system = section.get("system") if isinstance(section, dict) else None
        name = system.get("file") if isinstance(system, dict) and len(system) == 1 else None
        if not isinstance(name, str) or not is_safe(name):
            continue  # a text, nothing, or a shape that is told as wrong
        path = ("jobs", job, "system")
        try:
            text = files.text(name).strip()
        except Unreadable as error:
            at = "" if error.line is None else f" (line {error.line})"
            problems.add(path, f"{name} cannot be read: {error}{at}")
            continue
        if not text:
            problems.add(path, f"{name} is empty")
        elif len(text) > PROMPT_MAX:
            problems.add(path, f"{name} is longer than {PROMPT_MAX:,} characters")
        elif _CONTROL.search(text):
            problems.add(path, f"{name} has control characters that cannot be used")
        else:
            section["system"] = text
