"""Server-sent events, cut out of bytes that arrive in any pieces.

Owns where one event ends and the next begins, and what the data and the name of an event are.
Promises that how the bytes were cut on their way here makes no difference, that nothing is lost
(the events, joined, and the rest are the stream, byte for byte, so they can be forwarded as they
are), and that an event can not grow without bound. It will not know what the data means.
"""

from __future__ import annotations

import re

DONE = b"data: [DONE]\n\n"
"""The event that ends a stream of OpenAI's chat."""
EVENT_LIMIT = 8 * 1024 * 1024
"""Bytes of the largest event; whoever sends more is not a chat provider."""

# A line ends with CRLF, LF or CR; two line ends in a row end the event. A CR at the very end of
# what has arrived may be half a CRLF, so it counts only once another byte follows it.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?=[^\n]))(?:\r\n|\n|\r(?=[^\n]))")
_LONGEST_BLANK_LINE = 4
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventSplitter:
    """Gives back whole raw events, each with the blank line that ends it."""

    __slots__ = ("_rest", "_searched")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0  # bytes of the rest in which no blank line begins

    @property
    def rest(self) -> bytes:
        """What has come of an event that has not ended, or whose last CR may be half a CRLF.

        At the end of a stream whatever is here is the last event, if it has data at all.
        """
        return bytes(self._rest)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that end with this piece, in order; often none or one.

        Raises ValueError when an event is larger than EVENT_LIMIT bytes.
        """
        if self._rest:
            return self._feed_after_rest(chunk)
        events, end = _cut(chunk, 0)
        if end < len(chunk):
            self._keep(chunk[end:])
        return events

    def _feed_after_rest(self, chunk: bytes) -> list[bytes]:
        rest = self._rest
        rest += chunk
        events, end = _cut(rest, self._searched)
        if events:
            self._keep(bytes(rest[end:]))
        else:
            self._keep_all()
        return events

    def _keep(self, rest: bytes) -> None:
        self._rest = bytearray(rest)
        self._keep_all()

    def _keep_all(self) -> None:
        size = len(self._rest)
        if size > EVENT_LIMIT:
            raise ValueError(f"an event of the stream is larger than {EVENT_LIMIT} bytes")
        self._searched = max(0, size - _LONGEST_BLANK_LINE)


def _cut(data: bytes | bytearray, search_from: int) -> tuple[list[bytes], int]:
    """The whole events in `data`, and where the last of them ends."""
    events: list[bytes] = []
    start = 0
    if b"\r" in data:
        for blank in _BLANK_LINE.finditer(data, search_from):
            events.append(bytes(data[start : blank.end()]))
            start = blank.end()
    else:
        found = data.find(b"\n\n", search_from)
        while found >= 0:
            end = found + 2
            events.append(bytes(data[start:end]))
            start = end
            found = data.find(b"\n\n", end)
    if len(data) > EVENT_LIMIT and any(len(event) > EVENT_LIMIT for event in events):
        raise ValueError(f"an event of the stream is larger than {EVENT_LIMIT} bytes")
    return events, start


def data_of(event: bytes) -> bytes | None:
    """The data of one raw event, its lines joined with LF; None if it has no data line at all."""
    # Nearly every event of a chat stream is one data line and one blank line, ended with LF.
    plain = event.startswith(b"data: ") and event.endswith(b"\n\n") and b"\r" not in event
    if plain and event.find(b"\n") == len(event) - 2:
        return event[6:-2]
    lines = _values(event, b"data")
    return b"\n".join(lines) if lines else None


def name_of(event: bytes) -> str:
    """The name that the event gives itself; empty if it gives none."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2 and b"\r" not in event:
        return ""  # one data line and nothing else
    names = _values(event, b"event")
    return names[-1].decode("utf-8", "replace") if names else ""


def _values(event: bytes, field: bytes) -> list[bytes]:
    values = []
    for line in event.removeprefix(_BYTE_ORDER_MARK).splitlines():
        if line.startswith(field):
            name, colon, value = line.partition(b":")
            if name == field:
                values.append(value.removeprefix(b" ") if colon else b"")
    return values
