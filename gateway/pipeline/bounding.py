"""The most that an attempt can use and cost, before it is made.

The cheap bound is the size of the request in bytes. The exact count of tokens is made when the
cheap bound does not fit, the context window or a budget, and never costs the event loop more
than a few kilobytes of counting: longer texts are counted in a thread.
"""

from __future__ import annotations

import asyncio

import msgspec

from gateway.errors import BadRequest, TooLarge, UnpricedModel
from gateway.jobs.parameters import Effective
from gateway.jobs.routes import Target
from gateway.metering import reading
from gateway.metering.counting import (
    OVERHEAD_PER_REQUEST,
    TokenCounter,
    cheap_bound,
    image_tokens,
)
from gateway.metering.prompts import (
    TOKENS_PER_MESSAGE,
    TOKENS_PER_REPLY,
    brings_files,
    read_prompt,
)
from gateway.pipeline.beside import Wanted
from gateway.prices.rates import TEXT_CLASSES, Price, bound
from gateway.treasury.budgets import Amounts
from gateway.wire.request_body import AN_HOUR, AUDIO, FILE, IMAGE, RequestBody, says

COUNTED_ON_THE_LOOP = 4_000
"""Characters that are counted without going to a thread (about half a millisecond)."""
SEARCHES_AT_MOST = 10
"""Billed searches that one answer is expected to make at the most, where they are possible."""
_ESTIMATE_MARGIN = (8, 5)
"""Counts with another model's encoding are raised by this ratio before they bound anything:
providers document up to 35 % more tokens for the same text with their newest tokenizers."""
_EXACT_MARGIN = (21, 20)
_KNOWN_ENCODINGS = frozenset({"openai", "azure"})


class Ceiling(msgspec.Struct, frozen=True):
    """What an attempt cannot exceed, and the input tokens it was worked out from."""

    amounts: Amounts
    input_tokens: int


class Bounding(msgspec.Struct, frozen=True):
    """Works out ceilings for one attempt at one target."""

    chat: RequestBody
    target: Target
    effective: Effective
    system_bytes: int
    """Bytes that the job's own prompt adds."""
    first_attempt: bool
    brought: int
    """Input tokens that the request only names; see `context_by_name`."""
    prices: tuple[Price, ...]
    """Every price that may be valid when the attempt is admitted; see `prices_of`."""
    beside: tuple[Wanted, ...] = ()
    """What the answer may use at prices of its own."""

    def cheap(self) -> Ceiling:
        """The ceiling by the size of the request alone."""
        size = self.chat.size + self.system_bytes
        tokens = cheap_bound(size, self.chat.images, self.target.model)
        return self.ceiling(tokens + self.brought)

    async def exact(self, counter: TokenCounter) -> Ceiling:
        """The ceiling by a count of tokens; never above the cheap one."""
        counted = await count_input(counter, self.chat, self.target, self.effective)
        known = self.target.provider.flavour in _KNOWN_ENCODINGS
        up, down = _EXACT_MARGIN if known else _ESTIMATE_MARGIN
        tokens = counted * up // down + OVERHEAD_PER_REQUEST
        tokens += self.brought
        return self.ceiling(min(tokens, self.cheap().input_tokens))

    def too_large(self, ceiling: Ceiling) -> bool:
        """Whether text and output might not fit the model's context window.

        How much of it an image takes is the provider's to say: the bill may have more.
        """
        window = self.target.context_window
        if window is None or self.brought:
            return False  # unknown, or the provider cuts what it was told to remember
        text = ceiling.input_tokens - image_tokens(self.chat.images, self.target.model)
        return text + self.effective.output_limit > window

    def refuse_size(self, ceiling: Ceiling) -> TooLarge:
        """The error for a request that does not fit the context window."""
        return TooLarge(
            f"this request has about {ceiling.input_tokens:,} input tokens and may answer"
            f" {self.effective.output_limit:,}; {self.target.name} takes"
            f" {self.target.context_window:,} in all",
            param="messages",
        )

    def longest(self, input_tokens: int, unit: str, room: int) -> int:
        """The largest output limit, under the present one, whose ceiling needs at most `room`.

        `room` is in the unit of a budget; -1 when not even the input fits.
        """
        fits, too_long = -1, self.effective.output_limit
        while fits + 1 < too_long:
            middle = (fits + too_long) // 2
            if self.ceiling(input_tokens, middle).amounts.of(unit) <= room:
                fits = middle
            else:
                too_long = middle
        return fits

    @property
    def _may_search(self) -> bool:
        fields = self.chat.fields
        if "web_search_options" in fields or "search" in self.target.model:
            return True
        return "tools" in fields and says(fields["tools"], b"search")

    def ceiling(self, input_tokens: int, output_limit: int | None = None) -> Ceiling:
        """The ceiling of so many input tokens; the limit of a choice is the present one if None."""
        effective = self.effective
        limit = effective.output_limit if output_limit is None else output_limit
        output_tokens = effective.n * limit
        service_tier, classes = _service_tier(self.chat), _classes(self.chat)
        conversation = input_tokens + output_tokens
        again = written = nanos = 0
        for wanted in self.beside:
            again += wanted.input_tokens(conversation)
            written += wanted.uses * wanted.output_tokens
        for price in self.prices:
            most = bound(
                price,
                input_tokens=input_tokens + again,
                output_tokens=output_tokens,
                service_tier=service_tier,
                requests=SEARCHES_AT_MOST if self._may_search else 0,
                classes=classes,
            )
            nanos = max(nanos, most)
        for wanted in self.beside:
            nanos += wanted.bound(conversation)
        requests = 1 if self.first_attempt else 0
        tokens = conversation + 2 * again + written
        return Ceiling(Amounts(nanos, tokens, requests), input_tokens)


def prices_of(target: Target, now: int, until: int) -> tuple[Price, ...]:
    """The prices that can hold for a request that is admitted between two moments.

    Almost always one; two when a price changes while the request may wait for room. Raises
    UnpricedModel when nobody has stated a price that has begun (law 10).
    """
    if target.price_at(now) is None:
        raise UnpricedModel(
            f"{target.name} has no price, so its cost cannot be bounded; state one in"
            f" routes.yaml under models: {target.name}: price, or write 'price: free'",
            param="model",
        )
    return target.prices_between(now, until)


async def count_input(
    counter: TokenCounter, chat: RequestBody, target: Target, effective: Effective
) -> int:
    """Input tokens of a request by our own count, the job's prompt and images included.

    Never more than its size allows: a count that is booked is within what was held.
    """
    name = "messages" if "messages" in chat.fields else "input"
    said = effective.set.get(name) or bytes(chat.fields.get(name, b"[]"))
    beside = [
        effective.set.get(n) or bytes(chat.fields[n])
        for n in _BESIDE_THE_MESSAGES
        if n in chat.fields or n in effective.set
    ]
    prompt = read_prompt(said, beside)
    text = prompt.tokens + await count_text(counter, prompt.text, target.model)
    seen = image_tokens(prompt.images, target.model)
    size = len(said) + sum(map(len, beside))
    most = cheap_bound(size, chat.images, target.model)
    template = prompt.messages * TOKENS_PER_MESSAGE + TOKENS_PER_REPLY
    return min(text + template + seen, most)


async def count_text(counter: TokenCounter, text: str, model: str) -> int:
    """Tokens of a text; off the event loop when it is long."""
    if len(text) <= COUNTED_ON_THE_LOOP:
        return counter.count(text, model)
    return await asyncio.to_thread(counter.count, text, model)


def context_by_name(chat: RequestBody, target: Target) -> int:
    """Input tokens that a request only names: an earlier response, a conversation, a file.

    The pages of a document that is sent along have little to do with its bytes either. Nobody can
    tell how many they are, so it is the model's whole context. Raises BadRequest when that is not
    known either.
    """
    named = next((name for name in _NAMES_OF_CONTEXT if name in chat.fields), None)
    if named is None and not (FILE in chat.signs and brings_files(_messages(chat))):
        return 0
    if target.context_window is None:
        raise BadRequest(
            f"{named or 'a file'} brings an unknown number of tokens, and the context window of"
            f" {target.name} is not known either; state it in routes.yaml",
            param=named or ("messages" if "messages" in chat.fields else "input"),
        )
    return target.context_window


def _messages(chat: RequestBody) -> bytes:
    return bytes(chat.fields.get("messages", chat.fields.get("input", b"")))


_BESIDE_THE_MESSAGES = (
    *("tools", "functions", "system", "instructions"),
    *("response_format", "text", "output_config", "output_format"),  # schemas are read as well
)
_NAMES_OF_CONTEXT = ("previous_response_id", "conversation", "prompt")


def _service_tier(chat: RequestBody) -> str | None:
    """The tier that is asked for; Anthropic's fast mode is asked for as a speed, and answers made
    in the United States alone as a place."""
    if "speed" in chat.fields or "inference_geo" in chat.fields:
        asked = {"speed": _text(chat, "speed"), "inference_geo": _text(chat, "inference_geo")}
        return reading.service_tier(asked) or _text(chat, "service_tier")
    return _text(chat, "service_tier")


def _text(chat: RequestBody, name: str) -> str | None:
    raw = chat.fields.get(name)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.MsgspecError:
        return None


def _classes(chat: RequestBody) -> frozenset[str]:
    """The token classes that this request can be billed in."""
    fields, signs, classes = chat.fields, chat.signs, _PLAIN
    if AN_HOUR in signs:
        classes = classes | {"cache_write_1h"}
    if AUDIO in signs or "audio" in fields:
        classes = classes | {"audio_input", "audio_output", "cache_read_audio"}
    if IMAGE in signs:
        classes = classes | {"image_input"}
    if "modalities" in fields or "image" in chat.model:
        classes = classes | {"image_output", "audio_output"}
    return classes


_PLAIN = TEXT_CLASSES - {"cache_write_1h"}
