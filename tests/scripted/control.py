"""The door for tests in another process: the same steering and looking, over HTTP.

GET  /_scripted/bill, requests, totals, state
POST /_scripted/script, by_model (JSON fields), scripts (a list), hold, release, resume, reset
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tests.scripted.script import Script

if TYPE_CHECKING:
    from tests.scripted.provider import ScriptedProvider

PREFIX = "/_scripted/"


def control(provider: ScriptedProvider, name: str, body: bytes) -> bytes | None:
    """Do what the path's last word says; JSON, or None when there is no such word.

    Raises ValueError for a script with fields that do not exist.
    """
    given = msgspec.json.decode(body) if body else {}
    shown: object = {"done": name}
    match name:
        case "bill":
            shown = provider.bill
        case "requests":
            shown = [seen.as_json() for seen in provider.requests]
        case "totals":
            shown = provider.totals()
        case "state":
            counts = ("arrived", "open", "stalled", "mistakes")
            shown = {word: getattr(provider, word) for word in counts}
        case "script":
            provider.script = Script().amended(given)
        case "scripts":
            provider.scripts(*(Script().amended(one) for one in given))
        case "by_model":
            provider.by_model |= {model: Script().amended(one) for model, one in given.items()}
        case "hold" | "release" | "resume" | "reset":
            getattr(provider, name)()
        case _:
            return None
    return msgspec.json.encode(shown)
