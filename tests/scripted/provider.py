"""The scripted provider: a real server on loopback that answers, fails and lies as it is told.

It keeps what it saw and what it charges. It never waits by itself except where a script says
so; tests wait on it with `until`, and steer it with `hold`, `release` and `resume`.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

import msgspec
from msgspec.structs import asdict

from gateway.metering.usage import CLASSES, Usage
from tests.scripted import control, openai_shape
from tests.scripted.answer import Answer, answer_to, ok, refusal
from tests.scripted.asked import FLAVOURS, Asked, read
from tests.scripted.exchange import Exchange, Gates
from tests.scripted.frames import Send
from tests.scripted.http import Connection, Request
from tests.scripted.records import BillLine, Seen
from tests.scripted.script import Script, marker_in

_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]*)"')
_STREAMS = re.compile(rb'"stream"\s*:\s*true')
_WANTS_USAGE = re.compile(rb'"include_usage"\s*:\s*true')


class _Prebuilt:
    """An answer encoded once, and how often it was given without waiting."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.writes = [step.data for step in answer.steps if isinstance(step, Send)]
        self.waits = len(self.writes) < len(answer.steps)
        self.count = 0


class ScriptedProvider:
    """A provider in the caller's event loop; `async with` starts and stops it.

    A request's script is, in this order: the marker `script:{...}` in its last user message
    (changes to what follows), the next of `scripts(...)`, `by_model`, `script`.
    With `record=False` nothing is kept but totals, and a script that `is_constant` is encoded
    once for each path, model and way of streaming; `n` and limits asked for are then ignored.
    """

    def __init__(
        self,
        flavour: str = "openai",
        *,
        script: Script | None = None,
        record: bool = True,
        api_key: str | None = None,
        port: int = 0,
    ) -> None:
        if flavour not in FLAVOURS:
            raise ValueError(f"there is no flavour {flavour!r}; there are {', '.join(FLAVOURS)}")
        self.flavour = flavour
        self.record = record
        self.api_key = api_key
        self.by_model: dict[str, Script] = {}
        self.models: list[str] = ["scripted-1"]
        self.url = ""
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._gates = Gates()
        self._prebuilt: dict[tuple[object, ...], _Prebuilt] = {}
        self._clear()
        self.script = script or Script()

    # --- life

    async def start(self) -> ScriptedProvider:
        """Listen on loopback; `url` is then known."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._serve, self._connections), "127.0.0.1", self._port
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
            await asyncio.gather(*(connection.ended() for connection in list(self._connections)))
            self._server = None

    async def __aenter__(self) -> ScriptedProvider:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    # --- steering

    @property
    def script(self) -> Script:
        """What plays when nothing else is said."""
        return self._script

    @script.setter
    def script(self, script: Script) -> None:
        self._count_prebuilt()
        self._script = script
        self._quick = script.is_constant and not self.record

    def scripts(self, *scripts: Script) -> None:
        """Queue these, one for each of the next requests."""
        self._queue.extend(scripts)

    def hold(self) -> None:
        """Let requests arrive, and answer none, until `release()`."""
        self._gates.hold()

    def release(self) -> None:
        """Answer what was held, and hold no longer."""
        self._gates.release()

    def resume(self) -> None:
        """Let go on what is stalled now; what stalls later, stalls again."""
        self._gates.resume()

    def reset(self) -> None:
        """Forget requests, bill, queue and failures; answers under way are let go on."""
        self.by_model.clear()
        self._prebuilt.clear()
        self._clear()
        self.script = Script()
        self.release()
        self.resume()

    def _clear(self) -> None:
        self.requests: list[Seen] = []
        self.bill: list[BillLine] = []
        self.mistakes: list[str] = []
        """Scripts that could not be played; each was answered with a 500 that says so."""
        self.arrived = 0
        self._queue: deque[Script] = deque()
        self._failures: dict[object, tuple[Script, int]] = {}
        self._unlisted: Counter[str] = Counter()

    # --- looking

    @property
    def open(self) -> int:
        """Answers under way, held and stalled ones included."""
        return self._gates.open

    @property
    def stalled(self) -> int:
        """Answers that wait for `resume()`."""
        return self._gates.stalled

    def totals(self) -> Usage:
        """All that was charged, recorded or not."""
        self._count_prebuilt()
        sums = Counter(self._unlisted)
        for line in self.bill:
            sums.update(line.usage)
        return Usage(**{name: sums[name] for name in CLASSES})

    async def until(
        self, condition: Callable[[ScriptedProvider], object], timeout: float = 5.0
    ) -> None:
        """Wait until the condition holds of this provider. Raises TimeoutError (seconds)."""
        await self._gates.until(lambda: condition(self), timeout)

    # --- answering

    def _serve(self, connection: Connection, request: Request) -> Coroutine[Any, Any, None] | None:
        if request.target.startswith(control.PREFIX):
            answer = self._controlled(request)
            return Exchange(self._gates, connection, answer, Seen(0, request), _free).start()
        quick = self._prebuilt_for(request) if self._quick else None
        if quick is not None and not quick.waits and not self._gates.is_held:
            quick.count += 1
            self.arrived += 1
            connection.transport.writelines(quick.writes)
            return None
        self.arrived += 1
        seen = Seen(self.arrived, request)
        if self.record:
            self.requests.append(seen)
        answer = self._answer(seen) if quick is None else quick.answer
        seen.status = answer.status
        exchange = Exchange(self._gates, connection, answer, seen, self._charge)
        self._gates.note()
        return exchange.start()

    def _answer(self, seen: Seen) -> Answer:
        """Read the request, find its script, and build what it plays."""
        if self.api_key is not None and not _presents(seen, self.api_key):
            return refusal(None, 401, Script(error="Incorrect API key provided."))
        try:
            body = seen.body if seen.method == "POST" else {}
        except msgspec.DecodeError as wrong:
            return refusal(None, 400, Script(error=f"The body is not JSON: {wrong}"))
        asked = read(seen.method, seen.path, body if isinstance(body, dict) else {}, self.flavour)
        if asked is None:
            return refusal(None, 404, Script(error=f"Unknown request URL: {seen.path}"))
        if asked.api == "models":
            return ok(openai_shape.models([*self.models, *self.by_model]))
        try:
            key, script = self._script_for(asked)
            seen.script = script
            _, failed = self._failures.get(key, (script, 0))
            if failed < script.fail_first:
                # the script is kept with its count, so that its id stays its own
                self._failures[key] = script, failed + 1
                failing = Script(error=script.error, retry_after=script.retry_after)
                return refusal(asked, script.fail_status, failing)
            return answer_to(asked, script, seen.order)
        except ValueError as wrong:
            self.mistakes.append(str(wrong))
            return refusal(asked, 500, Script(error=f"This script cannot be played: {wrong}"))

    def _script_for(self, asked: Asked) -> tuple[object, Script]:
        """The script, and what its failures are counted by. Raises ValueError."""
        found = marker_in(asked.last_text)
        if found is not None:
            base = self.by_model.get(asked.model, self.script)
            return found[0], base.amended(found[1])
        script = self._queue.popleft() if self._queue else None
        script = script or self.by_model.get(asked.model, self.script)
        return id(script), script

    def _prebuilt_for(self, request: Request) -> _Prebuilt | None:
        """The answer that fits every request like this one, or None if each differs."""
        body = request.body
        if self._queue or self.by_model or self.api_key or b"script:{" in body:
            return None
        if request.method != "POST" or request.target.endswith("/embeddings"):
            return None
        model = _MODEL.search(body)
        streams = _STREAMS.search(body) is not None
        options = b'"stream_options"' in body, _WANTS_USAGE.search(body) is not None
        key = (request.target, model and model[1], streams, options)
        if key not in self._prebuilt:
            answer = self._answer(Seen(0, request))
            if answer.usage is None:
                return None
            self._prebuilt[key] = _Prebuilt(answer)
        return self._prebuilt[key]

    def _count_prebuilt(self) -> None:
        """Add what prebuilt answers cost to the totals, and forget them."""
        for prebuilt in self._prebuilt.values():
            used = prebuilt.answer.usage or Usage()
            for name, count in asdict(used).items():
                self._unlisted[name] += count * prebuilt.count
        self._prebuilt.clear()

    def _charge(self, answer: Answer, seen: Seen, pieces: int, complete: bool) -> None:
        used = answer.usage if complete else answer.used_after(pieces)
        if used is None:
            return
        if not self.record:
            self._unlisted.update(asdict(used))
            return
        line = BillLine(
            order=seen.order,
            request_id=seen.request_id,
            answer_id=answer.answer_id,
            model=answer.model,
            usage=asdict(used),
            complete=complete,
            usage_told=seen.usage_told,
            generated_output_tokens=used.output_total,
        )
        self.bill.append(line)

    def _controlled(self, request: Request) -> Answer:
        try:
            name = request.target.removeprefix(control.PREFIX)
            told = control.control(self, name, request.body)
        except (ValueError, msgspec.DecodeError) as wrong:
            return refusal(None, 400, Script(error=str(wrong)))
        return refusal(None, 404, Script()) if told is None else ok(told)


def _free(answer: Answer, seen: Seen, pieces: int, complete: bool) -> None:
    """The controls cost nothing."""


def _presents(seen: Seen, key: str) -> bool:
    headers = seen.headers
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return key in (bearer, headers.get("x-api-key"), headers.get("x-goog-api-key"))
