"""From events to what goes out: faults put in their places, framing, compression. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Literal

import msgspec

from tests.scripted.script import Script

encode = msgspec.json.encode
GZIP_WINDOW = 31
"""zlib's way of saying: with gzip's header and trailer."""


class Kind(Enum):
    """What an event is to the counting of chunks."""

    FRAME = auto()
    PIECE = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a stream, framed."""

    data: bytes
    kind: Kind = Kind.FRAME
    has_usage: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes; `pieces` of the content are then out."""

    data: bytes
    pieces: int
    told: bool = False
    """Whether these bytes state the final usage."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stall:
    """Wait until the test says to go on, or the client leaves."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection here: with a reset, or in good order but too early."""

    mode: Literal["reset", "eof"]


@dataclass(frozen=True, slots=True)
class Broken:
    """The answer ends here, well framed, without what was due."""


Step = Send | Pause | Stall | Cut | Broken


def sse(data: object, event: str = "") -> bytes:
    """One server-sent event."""
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + encode(data) + b"\n\n"


def stage_stream(frames: Sequence[Frame], script: Script, error: bytes) -> list[Step]:
    """The steps of a stream's body. `error` is the format's error event.

    Raises ValueError when a fault is placed at a chunk that the stream does not have.
    """
    total = sum(frame.kind is Kind.PIECE for frame in frames)
    for name in ("stall_before_chunk", "garbage_after", "error_event_after", "cut_after_chunk"):
        if (place := getattr(script, name)) is not None and place > total:
            raise ValueError(f"{name} is {place}; the stream has {total} chunks")
    steps: list[Step] = []
    pieces = 0
    last = len(frames) - 1
    opening = next((at for at, one in enumerate(frames) if one.kind is Kind.PIECE), last)
    for at, frame in enumerate(frames):
        fault_due = at == opening or (at > 0 and frames[at - 1].kind is Kind.PIECE)
        if fault_due and not _faults(steps, script, pieces, (frame.data, error)):
            return steps
        if frame.kind is Kind.END:
            if script.cut_after_chunk == -1:
                return [*steps, _cut(script)]
            if script.no_done:
                return [*steps, Broken()]
        if frame.kind is Kind.PIECE:
            if pieces and script.delay_between_chunks:
                steps.append(Pause(script.delay_between_chunks))
            pieces += 1
        told = frame.has_usage and script.wire_usage is None
        times = 1 + (frame.has_usage and script.duplicate_usage)
        steps += [Send(frame.data, pieces, told)] * times
    if script.cut_after_chunk == -1:
        steps.append(_cut(script))
    return steps


def _faults(steps: list[Step], script: Script, at: int, near: tuple[bytes, bytes]) -> bool:
    """Add the faults due at chunk `at`; False when the stream ends with them.

    `near` is the event that would come next, and the error event.
    """
    upcoming, error = near
    if script.stall_before_chunk == at:
        steps.append(Stall())
    if script.garbage_after == at:
        steps.append(Send(b"data: {<not json>\n\n", at))
    if script.error_event_after == at:
        steps += [Send(error, at), Broken()]
        return False
    if script.cut_after_chunk == at:
        if script.truncate_json:
            steps.append(Send(upcoming[: len(upcoming) // 2], at))
        steps.append(_cut(script))
        return False
    return True


def stage_body(body: bytes, script: Script, pieces: int, *, told: bool) -> list[Step]:
    """The steps of a plain body, all of whose `pieces` are generated before its first byte."""
    if script.truncate_json:
        body, told = body[: len(body) // 2], False
    stall: list[Step] = [] if script.stall_before_chunk is None else [Stall()]
    return [*stall, Send(body, pieces, told), *([Broken()] if script.truncate_json else [])]


def cut_at_bytes(steps: Sequence[Step], script: Script, *, streamed: bool) -> list[Step]:
    """The steps, cut after `cut_bytes` bytes of the body. ValueError if it has not so many.

    Half a chunk of a stream does not count as sent; a plain answer was generated whole.
    """
    if script.cut_bytes is None:
        return list(steps)
    left = script.cut_bytes
    kept: list[Step] = []
    sent = 0
    for step in steps:
        if not isinstance(step, Send):
            kept.append(step)
        elif left >= len(step.data):
            left -= len(step.data)
            sent = step.pieces
            kept.append(step)
        else:
            pieces = sent if streamed else step.pieces
            return [*kept, Send(step.data[:left], pieces), _cut(script)]
    if left:
        raise ValueError(f"cut_bytes is {script.cut_bytes}; the body has {left} fewer")
    return [*kept, _cut(script)]


def _cut(script: Script) -> Cut | Broken:
    return Broken() if script.cut_mode == "end" else Cut(script.cut_mode)


def compressed(steps: Sequence[Step]) -> Iterator[Step]:
    """The same steps with every byte of the body gzipped and flushed."""
    squeeze = zlib.compressobj(wbits=GZIP_WINDOW)
    last = (
        len(steps)
        - 1
        - next((n for n, step in enumerate(reversed(steps)) if isinstance(step, Send)), 0)
    )
    for at, step in enumerate(steps):
        if isinstance(step, Send):
            how = zlib.Z_FINISH if at == last else zlib.Z_SYNC_FLUSH
            data = squeeze.compress(step.data) + squeeze.flush(how)
            yield replace(step, data=data)
        else:
            yield step


def framed(steps: Sequence[Step], head: bytes, *, chunked: bool, burst: bool) -> list[Step]:
    """The steps with the head before the first bytes and HTTP's chunks around each."""
    if chunked:
        whole = not any(isinstance(step, Cut) for step in steps)
        steps = [_chunk(step) if isinstance(step, Send) else step for step in steps]
        if whole:
            steps = _with_last_chunk(steps)
    out: list[Step] = []
    for step in steps:
        if head and (isinstance(step, Send | Cut) or chunked):
            opening, head = head, b""
            if isinstance(step, Send):
                out.append(replace(step, data=opening + step.data))
                continue
            out.append(Send(opening, 0))
        before = out[-1] if out else None
        if burst and isinstance(step, Send) and isinstance(before, Send):
            told = before.told or step.told
            out[-1] = Send(before.data + step.data, step.pieces, told)
        else:
            out.append(step)
    return out


def _chunk(send: Send) -> Send:
    if not send.data:
        return send
    return replace(send, data=b"%x\r\n%b\r\n" % (len(send.data), send.data))


def _with_last_chunk(steps: Sequence[Step]) -> list[Step]:
    """The steps with the end of the body, which goes out with the last bytes if it can."""
    tail = [step for step in steps if isinstance(step, Broken)]
    ended = [step for step in steps if not isinstance(step, Broken)]
    last = ended[-1] if ended else None
    if isinstance(last, Send):
        ended[-1] = replace(last, data=last.data + b"0\r\n\r\n")
    else:
        pieces = max((step.pieces for step in ended if isinstance(step, Send)), default=0)
        ended.append(Send(b"0\r\n\r\n", pieces))
    return [*ended, *tail]
