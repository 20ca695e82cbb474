"""A scripted provider: real HTTP, real wire formats, and every fault that one can ask for.

    async with ScriptedProvider("mistral", script=Script(text="Two words")) as provider:
        ...                             # requests to provider.url
    assert provider.bill[0].usage["output"] == 2

`ThreadedProvider` is the same for tests without an event loop, and
`python -m tests.scripted --port 9100` a process of its own.
"""

from __future__ import annotations

from tests.scripted.provider import ScriptedProvider
from tests.scripted.records import BillLine, Seen
from tests.scripted.script import Script
from tests.scripted.threaded import ThreadedProvider

__all__ = ["BillLine", "Script", "ScriptedProvider", "Seen", "ThreadedProvider"]
