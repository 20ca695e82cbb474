"""From files to `Routes`, or to the full list of what is wrong with them.

Reading has four steps: YAML with its lines (`document`), other files that it names (`including`),
the shape of each section (`schema`, `rules`), and what they mean together (`resolving`). A section
with a wrong shape does not hide what is wrong elsewhere: it is set aside, and the rest is still
checked, so that all problems are told at once. The environment is asked only for
JOBGATE_PROVIDER_<NAME>_BASE_URL, which takes the place of a provider's `base_url`; there is no
other substitution, so what the file says is what is live.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.errors import ConfigurationError
from gateway.jobs.document import Document, Path, read
from gateway.jobs.files import Files, Unreadable
from gateway.jobs.including import include, read_prompts
from gateway.jobs.problems import Problems, nearest
from gateway.jobs.resolving import Known, resolve
from gateway.jobs.routes import Routes
from gateway.jobs.rules import RoutesFile, schema
from gateway.jobs.schema import IN_WORDS
from gateway.prices.book import PriceBook

_SECTIONS = ("providers", "models", "jobs", "aliases", "teams", "budgets", "alerts")
_SHOWN = 40
_SUBJECT = re.compile(r"^(Input|String|List|Dictionary|Value) should")


def load(path: FilePath, *, book: PriceBook, environment: Mapping[str, str]) -> Routes:
    """The routes in a file. Raises ConfigurationError with every problem, each with its line."""
    return load_files(Files.at(path), book=book, environment=environment)


def parse(text: str, name: str, book: PriceBook, environment: Mapping[str, str]) -> Routes:
    """The routes in a text without other files; `name` stands before each line number.

    Raises ConfigurationError with every problem, in the order of the lines.
    """
    return load_files(Files(name, texts={name: text}), book=book, environment=environment)


def load_files(files: Files, *, book: PriceBook, environment: Mapping[str, str]) -> Routes:
    """The routes in a set of files, which has seen afterwards every file that they name.

    Raises ConfigurationError with every problem, file by file in the order of the lines.
    """
    name = files.root
    try:
        document = read(files.text(name), name)
    except Unreadable as error:
        said = f"cannot be read: {error}" if error.line is None else str(error)
        where = name if error.line is None else f"{name}:{error.line}"
        raise ConfigurationError([f"{where}: {said}"]) from None
    problems = Problems(name, document.lines)
    for line, path, said in document.problems:
        problems.add(path, said, line=line)
    owners = include(document, files, problems)
    read_prompts(document, files, problems)
    file, written = _shape(document, problems)
    routes = None
    if file is not None:
        known = _known(written, file)
        routes = resolve(file, known, problems, book, environment, files.texts[name])
    found = problems.problems()
    if found or routes is None:
        raise ConfigurationError(found)
    return replace(
        routes,
        version=files.version,
        files=MappingProxyType(dict(files.texts)),
        owners=MappingProxyType(owners),
    )


def _shape(document: Document, problems: Problems) -> tuple[RoutesFile | None, dict[str, Any]]:
    """The file without the sections whose shape is wrong, and all that is written."""
    written = document.value
    if not isinstance(written, dict):
        problems.add((), "the file must be a mapping with version, organisation, providers, jobs")
        return None, {}
    for section in ("providers", "jobs"):
        if written.get(section) == {}:
            problems.add((section,), f"is empty; name at least one of the {section}")
    errors = _errors(written)
    if not errors:
        return RoutesFile.model_validate(written), written
    fields = schema()
    for error in errors:
        path = _path(error, written)
        problems.add(path, _said(error, path, fields))
    rest = _without(written, [_path(error, written) for error in errors])
    try:
        return RoutesFile.model_validate(rest), written
    except ValidationError:
        return None, written


def _errors(written: dict[str, Any]) -> list[ErrorDetails]:
    try:
        RoutesFile.model_validate(written)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _known(written: Mapping[str, Any], file: RoutesFile) -> Known:
    """The names that are written, whether or not what they name is right."""
    sections = {name: _mapping(written.get(name)) for name in ("providers", "jobs")}
    jobs = {name: _mapping(job) for name, job in sections["jobs"].items()}
    return Known(
        providers=frozenset(sections["providers"]),
        jobs=frozenset(jobs),
        tags=frozenset(tag for job in jobs.values() for tag in _texts(job.get("tags"))),
        budgets=frozenset(_mapping(written.get("budgets"))),
        set_aside={
            name: _texts(job.get("targets")) for name, job in jobs.items() if name not in file.jobs
        },
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> tuple[str, ...]:
    """The items that are text, and nothing where another one stands."""
    return (
        tuple(str(v) if isinstance(v, str) else "" for v in value)
        if isinstance(value, list)
        else ()
    )


def _without(written: Mapping[str, Any], wrong: Iterable[Path]) -> dict[str, Any]:
    """A copy from which the smallest wrong entries are gone, with stand-ins for what must be."""
    rest: dict[str, Any] = {
        key: dict(value) if key in _SECTIONS and isinstance(value, dict) else value
        for key, value in written.items()
        if key in RoutesFile.model_fields
    }
    for path in wrong:
        section = path[0] if path else ""
        if section in _SECTIONS and len(path) > 1 and isinstance(rest.get(str(section)), dict):
            rest[str(section)].pop(path[1], None)
        elif section in _SECTIONS:
            rest.pop(str(section), None)
    rest["version"] = 1
    rest.setdefault("providers", {})
    rest.setdefault("jobs", {})
    if any(path[:1] == ("organisation",) for path in wrong) or "organisation" not in rest:
        rest["organisation"] = {"name": "unknown"}
    return rest


def _path(error: ErrorDetails, written: object) -> Path:
    """Where in the file an error is: without the steps that only pydantic knows."""
    path: list[str | int] = []
    value = written
    *inner, last = error["loc"] or ("",)
    for step in inner:
        if _has(value, step):
            value = value[step]  # type: ignore[index]
            path.append(step)
    if _has(value, last) or error["type"] == "missing":
        path.append(last)
    return tuple(path)


def _has(value: object, step: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


_ONE_ALONE = ", or one alone such as {team: brand} or {tag: run}"
"""How else the scope of a budget can be written; its words are not all there is."""


def _said(error: ErrorDetails, path: Path, fields: Mapping[str, Any]) -> str:
    """One error in our words. Values are repeated only where they come from a closed list."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        known = _fields_at(fields, path[:-1])
        return f"there is no such field{nearest(str(path[-1]), known)}"
    if kind == "string_pattern_mismatch":
        return IN_WORDS.get(str(context.get("pattern")), "has characters that cannot be used")
    if kind == "literal_error":
        expected = str(context.get("expected", ""))
        value = str(error["input"])[:_SHOWN]
        options = expected.replace(" or ", ", ").replace("'", "").split(", ")
        also = _ONE_ALONE if "each team" in options else ""
        return f"must be {expected}{also}, not {value!a}{nearest(value, options)}"
    if kind == "value_error":
        return str(context.get("error", error["msg"]))
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "must be a mapping"
    return _SUBJECT.sub("must", error["msg"])


def _fields_at(document: Mapping[str, Any], path: Path) -> list[str]:
    """Names of the fields that may stand at a path, as the JSON Schema knows them."""
    places: list[Mapping[str, Any]] = [document]
    for step in (*path, None):
        expanded: list[Mapping[str, Any]] = []
        while places:
            place = places.pop()
            if "$ref" in place:
                places.append(document["$defs"][place["$ref"].rsplit("/", 1)[1]])
            else:
                places.extend(place.get("anyOf", ()))
                places.extend(place.get("oneOf", ()))
                expanded.append(place)
        if step is None:
            return [name for place in expanded for name in place.get("properties", ())]
        for place in expanded:
            inner = (
                place.get("items")
                or place.get("properties", {}).get(step)
                or next(iter(place.get("patternProperties", {}).values()), None)
                or place.get("additionalProperties")
            )
            if isinstance(inner, Mapping):
                places.append(inner)
    return []
