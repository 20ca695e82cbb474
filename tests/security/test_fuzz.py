"""The short form of `make fuzz`: some hundred requests by the API document, every check on."""

from __future__ import annotations

from tests.security.fuzzing import a_target, fuzz, still_stands


def test_no_request_by_the_document_or_against_it_finds_a_fault() -> None:
    with a_target() as running:
        found = list(fuzz(running, examples=3, seed=1))
        wrong = still_stands(running)

    assert [each.told for each in found if each.status != 0] == []
    assert sum(each.requests for each in found) > 500
    assert wrong == []
