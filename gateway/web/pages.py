"""What a page is to the door that serves it: a method, a path, and a function of a visit.

A page is told who looks and what they ask for, and returns what is to be shown: a template and its
values, a redirect, or a file. It knows no request, no cookie and no header, and it need not ask
whether the visitor may see it at all: the table of policies has a line for each page. What belongs
to a team it shows only to those whose role reaches the team.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode

from gateway.callers.changes import By
from gateway.callers.roles import Permission, Principal
from gateway.web.wording import Wording

FORM_BYTES_AT_MOST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was sent with a form."""

    field: str
    name: str
    """As the browser calls it; nothing to be trusted."""
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Who looks at a page, and what they ask of it."""

    principal: Principal
    by: By
    """The visitor, as the log of changes names them."""
    place: str
    """The path as it was asked for, without the query."""
    path: Mapping[str, str]
    """What stands in the places of the path's names."""
    query: Mapping[str, str]
    """The last value of each name; empty ones are left out."""
    form: Mapping[str, str]
    """The same of a form that was posted."""
    files: Sequence[Upload] = ()
    """What was sent with the form; none but where the page takes files."""
    say: Wording
    now: int
    """Microseconds since 1970: one moment for the whole page."""
    base_url: str
    """Where apps reach /v1, such as http://127.0.0.1:4000."""

    @property
    def team(self) -> str | None:
        """The one team that the visitor's role is for; None for all."""
        return self.principal.role.team

    def may(self, permission: Permission) -> bool:
        """Whether the visitor's role permits something: for showing a button."""
        return self.principal.may(permission)


@dataclass(frozen=True, slots=True)
class Html:
    """A template with its values; see `rendering` for what every template has besides."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Redirect:
    """Go to another page of ours; after a form that did something."""

    place: str
    said: str = ""
    """What is told there once, such as "The budget was raised."; at most a sentence."""


@dataclass(frozen=True, slots=True)
class Download:
    """A file; `parts` are read in a thread while they are sent."""

    name: str
    media_type: str
    parts: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Errand:
    """Something that waits for others, such as a receiver of alerts: done on the event loop, and
    not in a thread as pages are."""

    run: Callable[[], Awaitable[Answer]]
    """What the page answers in the end; no second errand."""


Answer = Html | Redirect | Download | Errand


@dataclass(frozen=True, slots=True)
class Page:
    """One page, or the target of one form. `answer` blocks, and may raise GatewayError."""

    method: Literal["GET", "POST"]
    path: str
    """As Starlette writes it, such as /requests/{request_id}."""
    answer: Callable[[Visit], Answer]
    form_bytes_at_most: int = FORM_BYTES_AT_MOST
    takes_files: bool = False
    """Whether its form may have files with it."""


@dataclass(frozen=True, slots=True)
class Section:
    """A place in the navigation."""

    path: str
    title: str
    icon: str
    """The name of a symbol in icons.html."""


SECTIONS = (
    Section("/", "Overview", "overview"),
    Section("/budgets", "Budgets", "budgets"),
    Section("/jobs", "Jobs", "jobs"),
    Section("/requests", "Requests", "requests"),
    Section("/reports", "Reports", "reports"),
    Section("/routes", "Routes", "routes"),
    Section("/callers", "Callers", "callers"),
    Section("/alerts", "Alerts", "alerts"),
)
"""The navigation, in its order; those that are not served, or not for a visitor, are left out."""


def link(path: str, **query: object) -> str:
    """A path with a query; names without a value are left out."""
    told = {name: str(value) for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(told)}" if told else path
