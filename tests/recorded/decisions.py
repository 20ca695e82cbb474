"""What is decided about recorded answers whose tokens or amounts are not beyond doubt, and why."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from tests.recorded.recordings import Row

MAPPED = {400: 400, 401: 502, 404: 502}
"""Statuses of providers in the recordings, and what callers get: an unknown model, or a key that
the provider does not know, is ours to mend, so it is not the caller's 404 or 401."""

DISPUTED: dict[str, tuple[dict[str, int], str]] = {
    "4df8594de8de": ({}, "an advisor's tokens are another model's; the top level is this one's"),
    "b9aa62a61c66": ({}, "the prompt's count changes at the end: the last report stands"),
    "13e7ea5c76d2": ({}, "the prompt's count changes at the end: the last report stands"),
    "e5ddc411bd3a": ({}, "thoughts are told by the total alone: the total decides"),
    "9240f10d3870": ({}, "the tokens are plain; what is disputed is the priority tier's price"),
    "39d0c9f990fc": ({}, "message_start came twice: counts are cumulative, not added up"),
    "577b14783370": ({}, "the message began anew: its last counts stand"),
    "9dc150aa3186": (
        {"input_total": 3369, "output_total": 725},
        "several answers in one stream: the first message_stop ends the answer, as the API has it",
    ),
}
"""Rows whose tokens are disputed: what we count where it is not what is expected, and why."""

OTHER_AMOUNT = {
    "63dd1f769b2e": "OpenRouter states its charge, which has a fee beside the tokens",
    "840d6e161d0d": "OpenRouter states its charge, which is of the provider that it chose",
    "223ddbe350d6": "OpenRouter states its charge, which has a search in it",
    "9dc150aa3186": "disputed: only the first answer of several in one stream",
}
"""Rows that are not booked at the sum of their price calculation, and why."""

ERROR_INSIDE = {"44c0013c0c63": 400, "852afb8bcc01": 200}
"""Rows that are errors under status 200, and the status that callers get: Azure's filter tells
its own, and Groq's comes when the stream has begun."""

_SEARCHED = re.compile(r'"webSearchQueries"')


def searches_in(row: Row) -> dict[str, int]:
    """Searches with a fee that stand in an answer and not in its usage; `expected` has only usage.

    OpenAI's are items of the output, and opening a page is free; its search models search before
    every answer of a chat. A grounded answer of Gemini 2 has
    one fee. Their prices here state no fee, so the amounts are those of the tokens.
    """
    if row["status"] >= 400:
        return {}
    if row["api"] == "generate" and _SEARCHED.search(row["body"]):
        return {"web_searches": 1}
    if row["api"] == "chat" and "-search-" in (row["model_served"] or ""):
        return {"web_searches": 1}
    if row["api"] != "responses":
        return {}
    items = [item for item in _last_response(row)["output"] if item["type"] == "web_search_call"]
    searched = [item for item in items if item.get("action", {}).get("type", "search") == "search"]
    return {"web_searches": len(searched)}


def _last_response(row: Row) -> dict[str, Any]:
    if not row["stream"]:
        answer: dict[str, Any] = msgspec.json.decode(row["body"])
        return answer
    last = row["body"].rpartition("data: {")[2]
    told: dict[str, Any] = msgspec.json.decode("{" + last)["response"]
    return told
