"""The memory of answers has bounds: in bytes, in answers of one key, in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import MICROS
from gateway.pipeline.kept_answers import (
    ANSWER_BYTES,
    ANSWERS_OF_A_KEY,
    KEPT_BYTES,
    KEPT_SECONDS,
    KeptAnswer,
    KeptAnswers,
    Recording,
)
from gateway.treasury.claims import Name

MEGABYTE = 1024 * 1024
BLOCK = bytes(MEGABYTE)
WHOLE = bytes(ANSWER_BYTES)


def an_answer(body: bytes = b"", at: int = 0) -> KeptAnswer:
    return KeptAnswer(
        body_digest="", body=body, is_stream=False, headers=(), job="", target="", kept_at=at
    )


def name(number: int, key_id: str = "key") -> Name:
    return Name(key_id, str(number))


def test_of_one_key_only_the_newest_answers_are_kept() -> None:
    answers = KeptAnswers()
    answers.keep(name(0, "another"), an_answer())
    for number in range(ANSWERS_OF_A_KEY + 2):
        answers.keep(name(number), an_answer())

    there = [n for n in range(ANSWERS_OF_A_KEY + 2) if answers.get(name(n), 0) is not None]
    assert there == list(range(2, ANSWERS_OF_A_KEY + 2))
    assert answers.get(name(0, "another"), 0) is not None


def test_the_oldest_answers_make_room_for_new_ones() -> None:
    answers = KeptAnswers()
    for number in range(KEPT_BYTES // ANSWER_BYTES + 1):
        answers.keep(name(number), an_answer(WHOLE))

    assert answers.get(name(0), 0) is None
    assert answers.get(name(KEPT_BYTES // ANSWER_BYTES), 0) is not None


def test_an_answer_is_kept_for_its_time_and_no_longer() -> None:
    answers, end = KeptAnswers(), KEPT_SECONDS * MICROS
    answers.keep(name(1), an_answer())

    assert answers.get(name(1), end - 1) is not None
    assert answers.get(name(1), end) is None
    assert answers.size == 0


def test_a_recording_that_grew_too_large_gives_its_room_back() -> None:
    answers = KeptAnswers()
    recording = Recording(answers)
    recording.add(WHOLE)
    assert answers.size == ANSWER_BYTES
    recording.add(b"x")
    assert answers.size == 0
    assert recording.take() is None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["keep", "record", "take", "look"]),
        st.integers(0, 5),
        st.integers(0, ANSWER_BYTES // MEGABYTE + 1),
        st.integers(0, KEPT_SECONDS),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_is_kept_and_recorded_the_bytes_are_counted_and_bounded(
    steps: list[tuple[str, int, int, int]],
) -> None:
    answers, recordings, now = KeptAnswers(), list[Recording](), 0
    for number, (step, key, megabytes, seconds) in enumerate(steps):
        now += seconds * MICROS
        if step == "keep":
            answers.keep(name(number, f"key {key}"), an_answer(bytes(megabytes * MEGABYTE), now))
        elif step == "record":
            recordings.append(Recording(answers))
            for _ in range(megabytes):
                recordings[-1].add(BLOCK)
        elif step == "take" and recordings:
            recordings.pop().take()
        else:
            answers.get(name(0), now)
        assert 0 <= answers.size <= KEPT_BYTES

    for recording in recordings:
        recording.take()
    answers.get(name(0), now + KEPT_SECONDS * MICROS)
    assert answers.size == 0
