"""What a caller asked, and what is told back about how it went."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Mapping

import msgspec

from gateway.callers.callers import Caller
from gateway.errors import BadRequest
from gateway.jobs.routes import Job
from gateway.ledger.entries import ORDINARY, Decision
from gateway.wire.request_body import RequestBody

_TAGS_AT_MOST = 16
_TAG_VALUE_LENGTH = 128
_SHOWN = 64
"""Characters of a tag that is refused which are repeated to the caller."""


class Asked(msgspec.Struct, frozen=True):
    """One request, of whatever form, whose key is good."""

    caller: Caller
    chat: RequestBody
    job_header: str | None
    """X-Jobgate-Job: the job, whatever `model` says."""
    tags: Mapping[str, str]
    """Tags from X-Jobgate-Tags; the body's metadata may add some."""


class Trace(msgspec.Struct, eq=False):
    """How a request went so far: what the response headers tell, in an answer or an error."""

    request_id: str
    began: float = msgspec.field(default_factory=time.perf_counter)
    job: str = ""
    target: str = ""
    attempts: int = 0
    cost_nanos: int = 0
    changed: list[str] = []
    upstream_seconds: float = 0.0
    """Time spent waiting for providers: the rest is ours."""
    caller: Caller | None = None
    """Whose it is, once that is known."""
    decision: Decision = ORDINARY
    """What picked the job, and which targets were passed over so far."""

    def pass_over(self, target: str, code: str, budget: str = "") -> None:
        """Note that a target is not asked: the code of the error, and the budget that is short."""
        passed = (*self.decision.passed, (target, code, budget))
        self.decision = msgspec.structs.replace(self.decision, passed=passed)

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
            found.append((b"x-jobgate-changed", _line("; ".join(self.changed))))
        return found


_HEADER_LENGTH = 2000


def _line(text: str) -> bytes:
    """Text that is safe as a header: names in it are the caller's, who may write anything."""
    shown = text[:_HEADER_LENGTH]
    return "".join(c if c.isprintable() else "?" for c in shown).encode("ascii", "replace")


def usd(nanos: int) -> bytes:
    """Nano-dollars as dollars with nine decimals, exactly: b"0.001234000"."""
    sign = b"-" if nanos < 0 else b""
    return sign + b"%d.%09d" % divmod(abs(nanos), 1_000_000_000)


_generator = random.Random(secrets.randbits(128))  # noqa: S311 - ids have to differ, not to be secret


def new_request_id() -> str:
    """An id that sorts by time: microseconds, then 40 random bits."""
    return f"req_{time.time_ns() // 1000:014x}{_generator.getrandbits(40):010x}"


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
                f"X-Jobgate-Tags: {part.strip()[:_SHOWN]!r} is not name=value",
                param="X-Jobgate-Tags",
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
                f"job {job.name!r} does not accept the tag {name[:_SHOWN]!r};"
                f" it accepts: {accepted}",
                param="X-Jobgate-Tags",
            )
    if not asked.tags and not metadata:
        return {}
    found = {name: value for name, value in metadata.items() if name in job.tags}
    found.update(asked.tags)
    if len(found) > _TAGS_AT_MOST:
        raise BadRequest(f"more than {_TAGS_AT_MOST} tags", param="X-Jobgate-Tags")
    for name, value in found.items():
        if not 0 < len(value) <= _TAG_VALUE_LENGTH or not value.isprintable():
            raise BadRequest(
                f"tag {name!r}: its value is empty, over {_TAG_VALUE_LENGTH} characters, or not"
                " printable",
                param="X-Jobgate-Tags" if name in asked.tags else f"metadata.{name}",
            )
    return found
