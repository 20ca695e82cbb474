"""Recorded answers that arrive badly: in odd pieces, twice, cut off, broken, or at second try.

How the bytes came makes no difference to what is booked, and what broke off is booked as far as
it is known: counted or, where nothing at all came, presumed; never nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from openai.types.chat import ChatCompletionChunk

from tests.recorded.asking import Asked, Outcome, ask_all, replaying
from tests.recorded.recordings import Row, chats, expected_of, in_their_words, name_of

OF_EACH_KIND = 2
BYTES_AT_MOST = 20_000

ODD_BUT_WHOLE = (
    "split=1",
    "split=7",
    "split=64",
    "split=3;crlf=1",
    "split=5;crlf=1;comment=1",
    "join=1",
    "crlf=1",
    "join=1;crlf=1;dupusage=1",
    "comment=1",
    "nullusage=1",
    "dupusage=1",
    "nodone=1",
    "delay=2",
)
"""Streams that are whole, however they come."""
CUT = ("cut=1", "cut=2", "cut=3", "cut=2;cutmode=eof", "cut=3;cutmode=eof;split=5", "errevent=2")
"""Streams that end before their end, after something has arrived."""
NOTHING_CAME = ("cut=0", "cut=0;cutmode=eof")
"""Streams that end before their beginning."""
NONSENSE = ("garbage=1", "garbage=2;split=7")
"""Streams with an event that is no JSON in between; the provider goes on to its usage."""
SECOND_TRY = ("fail=1", "fail=1;failstatus=529", "fail=1;failstatus=500")
"""Refused before work at first."""


def sample(which: Callable[[Row], bool]) -> list[Row]:
    """A few rows of each provider and call whose tokens are beyond doubt."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for row in chats():
        kind = (row["provider"], row["api"])
        fits = row["trust"] == "high" and len(row["body"]) <= BYTES_AT_MOST and which(row)
        if fits and seen[kind] < OF_EACH_KIND:
            seen[kind] += 1
            found.append(row)
    return found


def tells_late(row: Row) -> bool:
    """Whether it is a stream that goes on for a while and says why it ended."""
    ends = ('"finish_reason":"', '"finish_reason": "', '"finishReason": "', '"stop_reason":"')
    events = row["body"].count("data:")
    return bool(row["stream"]) and events > 6 and any(end in row["body"] for end in ends)


STREAMS = sample(tells_late)
PLAIN = sample(lambda row: not row["stream"])
ASKED = [
    *(
        Asked(row, directives, wants_usage=True)
        for row in STREAMS
        for directives in (*ODD_BUT_WHOLE, *CUT, *NOTHING_CAME, *NONSENSE, *SECOND_TRY)
    ),
    *(
        Asked(row, directives)
        for row in PLAIN
        for directives in ("gzip=1", "cutbytes=40", *SECOND_TRY)
    ),
]


def each(rows: Iterable[Row], directives: Iterable[str]) -> pytest.MarkDecorator:
    """Run a test for each of these rows with each of these directives."""
    wanted = list(directives)
    cases = [
        pytest.param((row["id"], how), id=f"{name_of(row)};{how}") for row in rows for how in wanted
    ]
    return pytest.mark.parametrize("case", cases)


Outcomes = dict[tuple[str, str], Outcome]
Case = tuple[str, str]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Everything, asked once, by jobs that try a target twice. The books are audited."""
    folder = tmp_path_factory.mktemp("faults")
    found: Outcomes = {}
    with replaying(folder) as url:
        for directives in dict.fromkeys(asked.directives for asked in ASKED):
            # One way at a time, each with a gateway of its own: a breaker that opens on one kind
            # of fault must not stand in the way of another.
            batch = [asked for asked in ASKED if asked.directives == directives]
            database = f"sqlite:///{folder}/{len(found)}.db"
            for outcome in asyncio.run(ask_all(batch, url, database, retries=1)):
                found[outcome.asked.row["id"], directives] = outcome
    return found


def assert_exact(outcome: Outcome) -> None:
    assert outcome.entry["quality"] == "reported"
    assert in_their_words(outcome.usage) == expected_of(outcome.asked.row)


@each(STREAMS, ODD_BUT_WHOLE)
def test_how_a_stream_is_cut_into_pieces_does_not_matter(case: Case, outcomes: Outcomes) -> None:
    outcome = outcomes[case]
    assert_exact(outcome)
    assert [entry["outcome"] for entry in outcome.entries] == ["ok"]
    assert outcome.events[-1] == b"[DONE]"
    chunks = [ChatCompletionChunk.model_validate(chunk) for chunk in outcome.chunks]
    assert [chunk for chunk in chunks if chunk.usage is not None] == chunks[-1:]


@each(STREAMS, CUT)
def test_a_cut_stream_is_counted_and_the_caller_is_told(case: Case, outcomes: Outcomes) -> None:
    outcome = outcomes[case]
    assert [entry["quality"] for entry in outcome.entries] == ["counted"]
    assert outcome.entry["outcome"] == "provider_cut"
    assert outcome.entry["amount_nanos"] > 0
    assert b'"error"' in outcome.events[-1]
    assert b"[DONE]" not in outcome.events


@each(STREAMS, NOTHING_CAME)
def test_a_stream_that_never_began_is_an_error_and_not_for_nothing(
    case: Case, outcomes: Outcomes
) -> None:
    outcome = outcomes[case]
    assert outcome.status == 502
    assert outcome.entry["quality"] in ("counted", "presumed")
    assert outcome.entry["amount_nanos"] > 0


@each(STREAMS, NONSENSE)
def test_an_event_of_nonsense_does_not_lose_the_usage_after_it(
    case: Case, outcomes: Outcomes
) -> None:
    outcome = outcomes[case]
    assert_exact(outcome)
    assert outcome.entry["outcome"] == "provider_cut"
    assert b'"error"' in outcome.events[-1]


@each([*STREAMS, *PLAIN], SECOND_TRY)
def test_a_second_try_is_an_entry_of_its_own(case: Case, outcomes: Outcomes) -> None:
    outcome = outcomes[case]
    assert outcome.status == 200
    assert [entry["attempt"] for entry in outcome.entries] == [1, 2]
    assert outcome.entries[0]["amount_nanos"] == 0
    assert_exact(outcome)


@each(PLAIN, ["gzip=1"])
def test_a_packed_answer_is_read(case: Case, outcomes: Outcomes) -> None:
    assert_exact(outcomes[case])


@each(PLAIN, ["cutbytes=40"])
def test_a_cut_answer_is_presumed_and_not_for_nothing(case: Case, outcomes: Outcomes) -> None:
    outcome = outcomes[case]
    assert outcome.status == 502
    assert outcome.entry["quality"] == "presumed"
    assert outcome.entry["amount_nanos"] > 0
