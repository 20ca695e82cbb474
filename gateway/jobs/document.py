"""A YAML text as plain values that remember the line they stand on.

YAML is read in its 1.2 core sense: `true` and `false` are booleans, `yes`, `on` and dates are
text, so that a job called `no` is no surprise. Keys are always text. Anchors and aliases work,
within bounds; tags and merge keys do not. Whatever the text is, the outcome is a Document or a
ConfigurationError with the line: a bomb, a loop or garbage is refused before it costs anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

from gateway.errors import ConfigurationError

Path = tuple[str | int, ...]
"""Keys and indexes from the top of the document."""

BYTES_MAX = 1_000_000
DEPTH_MAX = 24
VALUES_MAX = 50_000
"""Values in a document, each alias counted with all that it stands for."""

_SCALAR_MAX = 200_000
_NUMBER_MAX = 64
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]|[\ud800-\udfff]")
_CORE = "tag:yaml.org,2002:"
_STARTS = list("-+.0123456789")


@dataclass(slots=True)
class Document:
    """The value, the line of each part of it, and what is wrong with it so far."""

    value: object = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[tuple[int, Path, str]] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """Composes nodes to a limited depth, with the core schema's scalars."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        try:
            if self.depth > DEPTH_MAX:
                mark = parent.start_mark if parent is not None else None
                raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver(_CORE + "null", re.compile(r"^(null|Null|NULL|~|)$"), [*"nN~", ""])
_Loader.add_implicit_resolver(
    _CORE + "bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(_CORE + "int", re.compile(r"^[-+]?(0|[1-9][0-9]*)$"), _STARTS)
_Loader.add_implicit_resolver(
    _CORE + "float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|nan)$"),
    _STARTS,
)


def read(text: str, name: str) -> Document:
    """The document in `text`. Raises ConfigurationError, with lines of `name`, if it is not YAML.

    Duplicate keys and the like are noted in `problems` of the document instead, so that they can
    be told together with everything else.
    """
    if len(text.encode(errors="replace")) > BYTES_MAX:
        raise ConfigurationError([f"{name}:1: the file is larger than {BYTES_MAX:,} bytes"])
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        hint = " (indent with spaces)" if "'\\t'" in (error.problem or "") else ""
        said = f"{name}:{line}: not valid YAML: {error.problem or error.context}{hint}"
        raise ConfigurationError([said]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        said = f"{name}:{line}: not valid YAML: {error.reason} (character #{error.character:#x})"
        raise ConfigurationError([said]) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The scanner turns \\U escapes into characters unchecked: some have no such character.
        raise ConfigurationError([f"{name}:1: not valid YAML: {error}"]) from None
    if root is None:
        raise ConfigurationError([f"{name}:1: the file is empty"])
    reading = _Reading(Document())
    reading.document.value = reading.value(root, ())
    return reading.document


@dataclass(slots=True)
class _Reading:
    """One walk over the nodes, expanding aliases within bounds."""

    document: Document
    open: set[int] = field(default_factory=set)
    count: int = 0

    def value(self, node: yaml.Node, path: Path) -> object:
        line = node.start_mark.line + 1
        self.document.lines.setdefault(path, line)
        self.count += 1
        if self.count > VALUES_MAX:
            if self.count == VALUES_MAX + 1:
                self._problem(line, (), f"more than {VALUES_MAX:,} values; aliases count in full")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line, path)
        if id(node) in self.open or len(path) > DEPTH_MAX:
            self._problem(line, path, "an alias stands inside what it stands for")
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, line, path)
            return self._sequence(node, line, path)
        finally:
            self.open.discard(id(node))

    def _sequence(self, node: yaml.Node, line: int, path: Path) -> list[object]:
        if node.tag != _CORE + "seq":
            self._problem(line, path, f"the tag {node.tag} is not used here")
        return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, line: int, path: Path) -> dict[str, object]:
        if node.tag != _CORE + "map":
            self._problem(line, path, f"the tag {node.tag} is not used here")
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            at = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or len(key_node.value) > 200:
                self._problem(at, path, "a key must be text of at most 200 characters")
                continue
            key = str(key_node.value)
            here = (*path, key)
            if _CONTROL.search(key) or "\n" in key:
                self._problem(at, path, f"the key {key!a} has characters that cannot be used")
            elif key == "<<":
                self._problem(at, path, "merge keys (<<) are not supported; write the fields out")
            elif key in found:
                first = self.document.lines[here]
                self._problem(at, here, f"is there twice; the first is on line {first}")
            else:
                self.document.lines[here] = at
                found[key] = self.value(value_node, here)
        return found

    def _scalar(self, node: yaml.ScalarNode, line: int, path: Path) -> object:
        text, kind = str(node.value), node.tag.removeprefix(_CORE)
        if len(text) > _SCALAR_MAX:
            self._problem(line, path, f"the text is longer than {_SCALAR_MAX:,} characters")
        elif _CONTROL.search(text):
            self._problem(line, path, "the text has control characters that cannot be used")
        elif kind == "str":
            return text
        elif kind == "null":
            return None
        elif kind == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        elif kind in ("int", "float") and len(text) <= _NUMBER_MAX:
            return self._number(text, kind, line, path)
        elif kind in ("int", "float", "bool"):
            self._problem(line, path, f"{text[:20]!a} cannot be read as a number or true or false")
        else:
            self._problem(line, path, f"the tag {node.tag} is not used here")
        return None

    def _number(self, text: str, kind: str, line: int, path: Path) -> int | float | None:
        try:
            return int(text) if kind == "int" else float(text.replace(".inf", "inf"))
        except ValueError:
            self._problem(line, path, f"{text!a} is not a number")
            return None

    def _problem(self, line: int, path: Path, text: str) -> None:
        self.document.problems.append((line, path, text))
