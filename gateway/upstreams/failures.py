"""What can go wrong at a provider, as errors of ours.

One place decides which failure is the caller's affair, which may be tried again, and which may
have cost money although nothing came of it.
"""

from __future__ import annotations

import asyncio
import re
import time
from types import TracebackType

import aiohttp

from gateway.errors import (
    UpstreamBroken,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimedOut,
)
from gateway.jobs.routes import Target
from gateway.wire.errors import error_status, provider_message, tells_error

_RETRY_DELAY = re.compile(rb'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"')


class Nonsense(UpstreamBroken):
    """An event that cannot be read; the stream may go on after it."""


class BrokenOff(UpstreamBroken):
    """The connection broke in the middle of an answer; what was on its way is lost."""


class ToldFailure(UpstreamBroken):
    """The provider said, in a stream that it had begun, that it could not go on."""


class Guard:
    """Makes foreign errors ours, and tells what was waited for when it took too long.

    `seconds` is the time that the block may take (None: any). Written out, because it stands on
    the way of every request and `contextlib` costs several times as much.
    """

    __slots__ = ("_began", "_seconds", "_target", "_timer", "_what")

    def __init__(self, target: Target, seconds: float | None, what: str) -> None:
        self._target, self._seconds, self._what = target, seconds, what
        self._timer = None if seconds is None else asyncio.timeout(seconds)
        self._began = time.monotonic()

    async def __aenter__(self) -> Guard:
        if self._timer is not None:
            await self._timer.__aenter__()
        return self

    def now_waits_for(self, what: str) -> None:
        """The first part has come; what follows has the seconds that are left."""
        self._what = what
        if self._seconds is not None:
            self._seconds = max(0.0, self._seconds - (time.monotonic() - self._began))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            try:
                await self._timer.__aexit__(kind, error, trace)
            except TimeoutError:
                raise self._too_late() from None
        if error is None or isinstance(error, UpstreamFailed):
            return
        name = self._target.name
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            said = f"{name} cannot be reached: {_reason(error)}"
            raise UpstreamBroken(said, target=name) from error
        if isinstance(error, TimeoutError):
            raise self._too_late() from None
        if isinstance(error, aiohttp.ClientError | OSError | ValueError):
            said = f"{name} broke off: {_reason(error)}"
            raise BrokenOff(said, target=name, may_have_cost=True) from error

    def _too_late(self) -> UpstreamTimedOut:
        name, seconds = self._target.name, self._seconds
        waited = time.monotonic() - self._began if seconds is None else seconds
        said = f"{name}: waited {waited:.3g} s for {self._what}"
        return UpstreamTimedOut(said, target=name, may_have_cost=True)


def failure(
    target: Target, status: int, body: bytes, retry_after: str | None = None
) -> UpstreamFailed:
    """The error for a provider's status, its message kept.

    400, 413 and 422 are about the request and go to the caller as they are; a refused credential
    or an unknown model is ours to mend, so it is a 502; 429, 503 and 529 pass by themselves.
    """
    name, message = target.name, provider_message(body)
    text = f"{name} answered {status}: {message}"
    if status in (400, 413, 422):
        return UpstreamRefused(text, status=400 if status == 422 else status, target=name)
    if status in (429, 503, 529):
        return UpstreamBusy(
            text, target=name, provider_status=status, retry_after=_wait(retry_after, body)
        )
    if status in (408, 504):
        return UpstreamTimedOut(text, target=name, provider_status=status)
    return UpstreamBroken(text, target=name, provider_status=status)


def failure_inside(target: Target, body: bytes) -> UpstreamFailed:
    """The error for a body that is no answer although its status is good.

    Nothing was made where it tells of an error; what cannot be read may have been an answer.
    """
    status = error_status(body)
    if status is not None:
        return failure(target, status, body)
    if not tells_error(body):
        return broken(target, f"answered {len(body):,} bytes that are no answer")
    text = f"{target.name} answered with an error: {provider_message(body)}"
    return UpstreamBroken(text, target=target.name)


def nonsense(target: Target, data: bytes) -> Nonsense:
    """The error for an event that cannot be read."""
    what = f"{target.name} sent an event of {len(data):,} bytes that is not JSON"
    return Nonsense(what, target=target.name, may_have_cost=True)


def told_failure(target: Target, data: bytes) -> ToldFailure:
    """The error for an event that tells of one; what was asked and made before may be billed."""
    what = f"{target.name} ended the stream with an error: {provider_message(data)}"
    return ToldFailure(what, target=target.name, may_have_cost=True)


def broken(target: Target, what: str) -> UpstreamBroken:
    """The error for an answer that was begun and makes no sense; it may have cost money."""
    return UpstreamBroken(f"{target.name} {what}", target=target.name, may_have_cost=True)


def _wait(header: str | None, body: bytes) -> float | None:
    """Seconds after which to come back: from the header, or Gemini's place for it in the body."""
    if header is None and (found := _RETRY_DELAY.search(body)):
        header = found[1].decode()
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None  # a date: seldom sent, and our own back-off is a fair stand-in


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
