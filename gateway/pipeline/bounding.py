"""The most that an attempt can use and cost, before it is made.

The cheap bound is the size of the request in bytes. The exact count of tokens is made when the
cheap bound does not fit, the context window or a budget, and never costs the event loop more
than a few kilobytes of counting: longer texts are counted in a thread.
"""

from __future__ import annotations

import asyncio

import msgspec

from gateway.errors import TooLarge, UnpricedModel
from gateway.jobs.parameters import Effective
from gateway.jobs.routes import Target
from gateway.metering.counting import (
    IMAGE_TOKENS_AT_MOST,
    OVERHEAD_PER_REQUEST,
    TokenCounter,
    cheap_bound,
)
from gateway.metering.prompts import TOKENS_PER_MESSAGE, read_prompt
from gateway.prices.rates import TEXT_CLASSES, Price, bound
from gateway.treasury.budgets import Amounts
from gateway.wire.request_body import RequestBody

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

    def cheap(self) -> Ceiling:
        """The ceiling by the size of the request alone."""
        size = self.chat.size + self.system_bytes
        return self._ceiling(cheap_bound(size, self.chat.images))

    async def exact(self, counter: TokenCounter) -> Ceiling:
        """The ceiling by a count of tokens; never above the cheap one."""
        counted = await count_input(counter, self.chat, self.target, self.effective)
        known = self.target.provider.flavour in _KNOWN_ENCODINGS
        up, down = _EXACT_MARGIN if known else _ESTIMATE_MARGIN
        tokens = counted * up // down + OVERHEAD_PER_REQUEST
        return self._ceiling(min(tokens, self.cheap().input_tokens))

    def too_large(self, ceiling: Ceiling) -> bool:
        """Whether input and output might not fit the model's context window."""
        window = self.target.context_window
        return window is not None and ceiling.input_tokens + self.effective.output_limit > window

    def refuse_size(self, ceiling: Ceiling) -> TooLarge:
        """The error for a request that does not fit the context window."""
        return TooLarge(
            f"this request has about {ceiling.input_tokens:,} input tokens and may answer"
            f" {self.effective.output_limit:,}; {self.target.name} takes"
            f" {self.target.context_window:,} in all",
            param="messages",
        )

    def _ceiling(self, input_tokens: int) -> Ceiling:
        effective = self.effective
        output_tokens = effective.n * effective.output_limit
        nanos = bound(
            price_of(self.target),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            service_tier=_service_tier(self.chat),
            requests=SEARCHES_AT_MOST if _may_search(self.chat) else 0,
            classes=_classes(self.chat),
        )
        requests = 1 if self.first_attempt else 0
        return Ceiling(Amounts(nanos, input_tokens + output_tokens, requests), input_tokens)


def price_of(target: Target) -> Price:
    """The target's price; raises UnpricedModel when nobody has stated one (law 10)."""
    if target.price is None:
        raise UnpricedModel(
            f"{target.name} has no price, so its cost cannot be bounded; state one in"
            f" routes.yaml under models: {target.name}: price, or write 'price: free'",
            param="model",
        )
    return target.price


async def count_input(
    counter: TokenCounter, chat: RequestBody, target: Target, effective: Effective
) -> int:
    """Input tokens of a request by our own count, the job's prompt and images included."""
    messages = effective.set.get("messages") or bytes(chat.fields["messages"])
    tools = [bytes(chat.fields[n]) for n in ("tools", "functions") if n in chat.fields]
    prompt = read_prompt(messages, tools)
    text = await count_text(counter, prompt.text, target.model)
    return text + prompt.messages * TOKENS_PER_MESSAGE + prompt.images * IMAGE_TOKENS_AT_MOST


async def count_text(counter: TokenCounter, text: str, model: str) -> int:
    """Tokens of a text; off the event loop when it is long."""
    if len(text) <= COUNTED_ON_THE_LOOP:
        return counter.count(text, model)
    return await asyncio.to_thread(counter.count, text, model)


def _service_tier(chat: RequestBody) -> str | None:
    raw = chat.fields.get("service_tier")
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.MsgspecError:
        return None


def _may_search(chat: RequestBody) -> bool:
    fields = chat.fields
    if "web_search_options" in fields or "search" in chat.model:
        return True
    return "tools" in fields and b"search" in bytes(fields["tools"])


def _classes(chat: RequestBody) -> frozenset[str]:
    """The token classes that this request can be billed in."""
    fields, classes = chat.fields, _PLAIN
    messages = bytes(fields["messages"])
    if b'"cache_control"' in messages and b'"1h"' in messages:
        classes = classes | {"cache_write_1h"}
    if b'"input_audio"' in messages or "audio" in fields:
        classes = classes | {"audio_input", "audio_output", "cache_read_audio"}
    if b"image" in messages:
        classes = classes | {"image_input"}
    if "modalities" in fields or "image" in chat.model:
        classes = classes | {"image_output", "audio_output"}
    return classes


_PLAIN = TEXT_CLASSES - {"cache_write_1h"}
