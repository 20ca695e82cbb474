"""One shape for every error, and nothing of a bug's own words."""

from __future__ import annotations

import json
import logging

import pytest

from gateway.doors.answers import as_gateway_error, error_body, error_headers
from gateway.errors import (
    BadRequest,
    BudgetBusy,
    BudgetExhausted,
    GatewayError,
    NotAuthenticated,
    RateLimited,
)


def test_an_error_has_openais_four_fields_and_the_figures_behind_it() -> None:
    error = BudgetExhausted("too dear", param="max_tokens", details={"left_nanos": 7})

    assert json.loads(error_body(error)) == {
        "error": {
            "message": "too dear",
            "type": "insufficient_quota",
            "param": "max_tokens",
            "code": "budget_exhausted",
            "details": {"left_nanos": 7},
        }
    }
    assert "details" not in json.loads(error_body(BadRequest("no")))["error"]


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (BadRequest("no"), {"x-should-retry": "false"}),
        (BudgetExhausted("no"), {"x-should-retry": "false"}),
        (RateLimited("no", retry_after=12.0), {"x-should-retry": "true", "retry-after": "12"}),
        (BudgetBusy("no", retry_after=1.2), {"x-should-retry": "true", "retry-after": "2"}),
        (BudgetBusy("no", retry_after=0.0), {"x-should-retry": "true", "retry-after": "1"}),
        (
            NotAuthenticated("no"),
            {"x-should-retry": "false", "www-authenticate": "Bearer"},
        ),
    ],
)
def test_headers_say_whether_and_when_to_ask_again(
    error: GatewayError, headers: dict[str, str]
) -> None:
    assert {name.decode(): value.decode() for name, value in error_headers(error)} == headers


def test_a_bug_is_logged_with_its_place_and_without_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = "canary" + " from a prompt"
    try:
        raise ValueError(words)
    except ValueError as error:
        told = as_gateway_error(error)

    assert (told.status, told.code) == (500, "internal_error")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "ValueError" in record.getMessage()
    assert "test_answers.py" in record.getMessage()
    assert words not in error_body(told).decode()
    assert words not in record.getMessage()
    assert record.exc_info is None


def test_our_own_errors_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    error = BadRequest("no")

    assert as_gateway_error(error) is error
    assert caplog.records == []
