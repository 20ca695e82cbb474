"""However the bytes of a stream are cut on their way, its events are the same."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import sse
from gateway.wire.sse import EventSplitter, data_of, name_of

STREAM_PIECES = st.sampled_from(
    [
        b"data: {}",
        b"data:x",
        b"event: ping",
        b": hello",
        b"id: 7",
        b"a",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b"\r\r",
        "data: grüße".encode(),
    ]
)
STREAMS = st.lists(STREAM_PIECES, max_size=40).map(b"".join)


def split(stream: bytes, cuts: list[int]) -> tuple[list[bytes], bytes]:
    splitter = EventSplitter()
    borders = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    events = []
    for start, end in itertools.pairwise(borders):
        events += splitter.feed(stream[start:end])
    return events, splitter.rest


@given(STREAMS, st.lists(st.integers(0, 200), max_size=30))
def test_any_split_of_any_stream_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    assert split(stream, cuts) == split(stream, [])


@given(STREAMS)
def test_one_byte_at_a_time_gives_the_same_events(stream: bytes) -> None:
    assert split(stream, list(range(len(stream)))) == split(stream, [])


@given(STREAMS, st.lists(st.integers(0, 200), max_size=30))
def test_no_byte_is_lost_or_changed(stream: bytes, cuts: list[int]) -> None:
    events, rest = split(stream, cuts)
    assert b"".join(events) + rest == stream


@given(
    st.lists(st.text("abc: {}", max_size=9), min_size=1),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_was_written_is_read_whatever_the_line_ends(values: list[str], line_end: str) -> None:
    stream = "".join(f"data: {value}{line_end}{line_end}" for value in values).encode()
    events, rest = split(stream + b":", [])
    assert [data_of(event) for event in events] == [value.encode() for value in values]
    assert rest == b":"


def test_a_last_carriage_return_waits_for_the_line_feed_that_may_follow() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: 1\r\n\r") == []
    assert splitter.rest == b"data: 1\r\n\r"
    assert splitter.feed(b"\ndata: 2") == [b"data: 1\r\n\r\n"]
    assert splitter.rest == b"data: 2"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("piece", [1000, 1001, 5000])
def test_an_event_over_the_limit_is_refused(
    monkeypatch: pytest.MonkeyPatch, line_end: bytes, piece: int
) -> None:
    monkeypatch.setattr(sse, "EVENT_LIMIT", 2000)
    fits = b"data: " + b"x" * (1994 - 2 * len(line_end)) + line_end * 2
    assert split(fits * 3, list(range(0, 6000, piece)))[0] == [fits] * 3
    with pytest.raises(ValueError, match="larger than"):
        split(b"x" + fits, list(range(0, 2001, piece)))


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: {}\n\n", b"{}"),
        (b"data:{}\n\n", b"{}"),
        (b"data:  two spaces\n\n", b" two spaces"),
        (b"event: x\ndata: 1\n\n", b"1"),
        (b"data: 1\ndata: 2\n\n", b"1\n2"),
        (b"data: 1\r\ndata: 2\r\n\r\n", b"1\n2"),
        (b"data: 1\rdata: 2\r\r", b"1\n2"),
        (b"data: 1\rid: 2\n\n", b"1"),
        (b"data\n\n", b""),
        (b"data:\n\n", b""),
        (b": keep-alive\n\n", None),
        (b": keep-alive\n\ndata: 1\n\n", b"1"),
        (b"database: 1\n\n", None),
        (b"\xef\xbb\xbfdata: 1\n\n", b"1"),
        (b"data: no end", b"no end"),
        (b"\n", None),
    ],
)
def test_the_data_of_an_event_is_its_data_lines(event: bytes, data: bytes | None) -> None:
    assert data_of(event) == data


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (b"event: message_start\ndata: {}\n\n", "message_start"),
        (b"event:ping\r\ndata: {}\r\n\r\n", "ping"),
        (b"data: {}\nevent: late\n\n", "late"),
        (b"data: {}\revent: late\r\r", "late"),
        (b'data: {"event": "no"}\n\n', ""),
        (b": event: no\n\n", ""),
        (b"event\n\n", ""),
    ],
)
def test_the_name_of_an_event_is_its_event_line(event: bytes, name: str) -> None:
    assert name_of(event) == name


def test_a_large_event_in_small_pieces_is_put_together() -> None:
    large = b"data: " + b"x" * 3_000_000 + b"\n\n"
    assert split(large + b"data: 1\n\n", list(range(0, len(large), 4096))) == (
        [large, b"data: 1\n\n"],
        b"",
    )
