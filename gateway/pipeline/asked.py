"""What a caller asked, and what is told back about how it went."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.callers.callers import Caller
from gateway.errors import BadRequest
from gateway.jobs.routes import Job
from gateway.wire.chat_body import ChatBody

_TAGS_AT_MOST = 16
_TAG_VALUE_LENGTH = 128


@dataclass(frozen=True, slots=True)
class Asked:
    """One chat request whose key is good."""

    caller: Caller
    chat: ChatBody
    job_header: str | None
    """X-Jobgate-Job: the job, whatever `model` says."""
    tags: Mapping[str, str]
    """Tags from X-Jobgate-Tags; the body's metadata may add some."""


@dataclass(slots=True)
class Trace:
    """How a request went so far: what the response headers tell, in an answer or an error."""

    request_id: str
    began: float = field(default_factory=time.perf_counter)
    job: str = ""
    target: str = ""
    attempts: int = 0
    cost_nanos: int = 0
    changed: list[str] = field(default_factory=list)
    upstream_seconds: float = 0.0
    """Time spent waiting for providers: the rest is ours."""

    def headers(self, *, with_cost: bool) -> list[tuple[bytes, bytes]]:
        """The x-jobgate headers."""
        found = [(b"x-jobgate-request-id", self.request_id.encode())]
        if self.job:
            found.append((b"x-jobgate-job", self.job.encode()))
        if self.target:
            found.append((b"x-jobgate-target", self.target.encode("ascii", "replace")))
        found.append((b"x-jobgate-attempts", b"%d" % self.attempts))
        if with_cost:
            found.append((b"x-jobgate-cost-usd", usd(self.cost_nanos)))
        if self.changed:
            text = "; ".join(self.changed).encode("ascii", "replace")
            found.append((b"x-jobgate-changed", text[:_HEADER_LENGTH]))
        return found


_HEADER_LENGTH = 2000


def usd(nanos: int) -> bytes:
    """Nano-dollars as dollars with nine decimals, exactly: b"0.001234000"."""
    sign = b"-" if nanos < 0 else b""
    return sign + b"%d.%09d" % divmod(abs(nanos), 1_000_000_000)


def new_request_id() -> str:
    """An id that sorts by time: microseconds, then 40 random bits."""
    return f"req_{time.time_ns() // 1000:014x}{secrets.token_hex(5)}"


def parse_tags(header: str | None) -> dict[str, str]:
    """Tags of X-Jobgate-Tags: "stage=draft, campaign=spring". Raises BadRequest."""
    if not header:
        return {}
    tags = {}
    for part in header.split(","):
        name, equals, value = part.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name or not value:
            raise BadRequest(
                f"X-Jobgate-Tags: {part.strip()!r} is not name=value", param="X-Jobgate-Tags"
            )
        tags[name] = value
    return tags


def accepted_tags(asked: Asked, job: Job, metadata: Mapping[str, str]) -> dict[str, str]:
    """The tags that the job declares, the header's before the metadata's.

    Raises BadRequest for a tag in the header that the job does not accept, and for a value that
    is empty, too long or not printable.
    """
    for name in asked.tags:
        if name not in job.tags:
            accepted = ", ".join(sorted(job.tags)) or "none"
            raise BadRequest(
                f"job {job.name!r} does not accept the tag {name!r}; it accepts: {accepted}",
                param="X-Jobgate-Tags",
            )
    found = {name: value for name, value in metadata.items() if name in job.tags}
    found.update(asked.tags)
    if len(found) > _TAGS_AT_MOST:
        raise BadRequest(f"more than {_TAGS_AT_MOST} tags", param="X-Jobgate-Tags")
    for name, value in found.items():
        if not 0 < len(value) <= _TAG_VALUE_LENGTH or not value.isprintable():
            raise BadRequest(
                f"tag {name!r}: its value is empty, over {_TAG_VALUE_LENGTH} characters, or not"
                " printable",
                param=f"metadata.{name}",
            )
    return found
