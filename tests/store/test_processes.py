"""A crew does every part once, tells what failed, and leaves nobody behind."""

from __future__ import annotations

import multiprocessing
import os
import threading

import pytest

from gateway.store.failing import DatabaseDown
from gateway.store.processes import Crew

SOON = 60.0


class Doubling:
    """Doubles numbers; a few texts are orders of another kind."""

    def take(self, part: int | str) -> int:
        """Twice the number, or what the text asks for."""
        if part == "fail":
            raise DatabaseDown("the disk is gone")
        if part == "end":
            os._exit(3)
        if part == "hang":
            threading.Event().wait()
        return 2 * int(part)

    def close(self) -> None:
        """Nothing is open."""


def test_every_part_is_done_once_and_told_by_its_place() -> None:
    parts: list[int | str] = list(range(11))
    with Crew(Doubling, 2) as crew:
        crew.each(7, SOON)
        assert sorted(crew.share(parts)) == [(place, 2 * place) for place in range(11)]
        assert list(crew.share([])) == []
        assert dict(crew.share([5])) == {0: 10}
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("order", "told"), [("fail", "the disk is gone"), ("end", "ended before it was done")]
)
def test_what_goes_wrong_in_a_process_is_a_database_that_is_down(order: str, told: str) -> None:
    with pytest.raises(DatabaseDown, match=told), Crew(Doubling, 2) as crew:
        for _ in crew.share([1, 2, order, 3, 4]):
            pass
    assert multiprocessing.active_children() == []


def test_whoever_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.store.processes._SECONDS_TO_END", 0.1)
    with Crew(Doubling, 1) as crew:
        crew.each(1, SOON)
        with pytest.raises(DatabaseDown, match="not ready within"):
            crew.each("hang", 0.1)
    assert multiprocessing.active_children() == []
