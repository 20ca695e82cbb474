"""What Gemini answers, said as OpenAI says it, whole or chunk by chunk.

Owns the parts of a candidate, the reasons why it ended, blocked prompts, and the usage, where
thoughts and tool prompts are beside what OpenAI has inside. Promises that the raw usage stays at
hand for those who count money, and that the signature of a function call comes out in a form
(`extra_content.google.thought_signature`) that `to_gemini` takes back. Pure; it will not know
how the answer got here.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.errors import UpstreamBroken
from gateway.wire import openai_reply
from gateway.wire.openai_reply import Chunks, Json, tokens

_FINISH_REASONS = {
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "LANGUAGE": "content_filter",
    # Not said why, but cut off: a plain stop would pass a part for the whole.
    "OTHER": "content_filter",
    "IMAGE_OTHER": "content_filter",
    "NO_IMAGE": "content_filter",
}
# Some clients of Vertex get the numbers of these names.
_NUMBERED = {
    2: "MAX_TOKENS",
    3: "SAFETY",
    4: "RECITATION",
    5: "OTHER",
    6: "BLOCKLIST",
    7: "PROHIBITED_CONTENT",
    8: "SPII",
}
_COUNTS = (
    "promptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
)
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_ID_SEED = 28  # OpenAI takes call ids of 40 characters at most


def from_gemini(reply: Json, *, created: int, answer_id: str) -> Json:
    """The chat completion that says what this answer says; `created` in seconds since 1970.

    `answer_id` is used when the provider gave none. Raises UpstreamBroken for an object that is
    not an answer.
    """
    candidates = reply.get("candidates")
    blocked = _blocked(reply)
    if not isinstance(candidates, list) and not blocked and not _raw_usage(reply):
        raise UpstreamBroken("the provider's answer has no candidates")
    answer_id = str(reply.get("responseId") or answer_id)
    choices = [
        _choice(candidate, place, answer_id)
        for place, candidate in enumerate(candidates if isinstance(candidates, list) else [])
        if isinstance(candidate, dict)
    ]
    if not choices:
        ended = "content_filter" if blocked else "stop"
        choices = [openai_reply.choice(0, openai_reply.message("", "", []), ended)]
    return {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": str(reply.get("modelVersion") or ""),
        "choices": choices,
        "usage": gemini_usage(_raw_usage(reply)),
    }


def searches_of(reply: Json) -> int:
    """How many web searches an answer was grounded by, all candidates together."""
    candidates = reply.get("candidates")
    listed = candidates if isinstance(candidates, list) else []
    return sum(_queries(candidate) for candidate in listed if isinstance(candidate, dict))


def _queries(candidate: Json) -> int:
    grounding = candidate.get("groundingMetadata")
    queries = grounding.get("webSearchQueries") if isinstance(grounding, dict) else None
    return len(queries) if isinstance(queries, list) else 0


def _choice(candidate: Json, place: int, answer_id: str) -> Json:
    index = _index(candidate, place)
    found = _Found(candidate)
    calls = [
        _tool_call(call, signature, _call_id(call, answer_id, index, number))
        for number, (call, signature) in enumerate(found.calls)
    ]
    answer = openai_reply.message(found.text, found.reasoning, calls)
    answer.update(found.media)
    ended = finish_reason(candidate.get("finishReason"), called=bool(calls))
    return openai_reply.choice(index, answer, ended, _logprobs(candidate))


def finish_reason(reason: object, *, called: bool) -> str:
    """OpenAI's word for why a candidate ended; `called` tells whether it called functions."""
    name = _NUMBERED.get(reason, "STOP") if isinstance(reason, int) else str(reason)
    ended = _FINISH_REASONS.get(name, "stop")
    return "tool_calls" if called and ended == "stop" else ended


def gemini_usage(raw: Json) -> Json | None:
    """OpenAI's usage object of a raw one, in tokens; None when no counts were reported."""
    if not raw:
        return None
    prompt_details = {"cached_tokens": tokens(raw, "cachedContentTokenCount")}
    completion_details = {"reasoning_tokens": tokens(raw, "thoughtsTokenCount")}
    heard = _audio(raw, "promptTokensDetails") + _audio(raw, "toolUsePromptTokensDetails")
    spoken = _audio(raw, "candidatesTokensDetails")
    if heard:
        prompt_details["audio_tokens"] = heard
    if spoken:
        completion_details["audio_tokens"] = spoken
    return openai_reply.usage(
        tokens(raw, "promptTokenCount") + tokens(raw, "toolUsePromptTokenCount"),
        tokens(raw, "candidatesTokenCount") + tokens(raw, "thoughtsTokenCount"),
        prompt_details,
        completion_details,
    )


def _audio(raw: Json, key: str) -> int:
    details = raw.get(key)
    return sum(
        tokens(detail, "tokenCount")
        for detail in (details if isinstance(details, list) else [])
        if isinstance(detail, dict) and detail.get("modality") == "AUDIO"
    )


class GeminiStream:
    """Turns the pieces of one streamed answer into chunks, and remembers how it went.

    `usage` is the provider's own, the last that had counts (empty: none yet); `searches` counts
    the queries that the answer was grounded by; `finished` is true once every candidate has
    ended, or the prompt was blocked; `error` is what an error said.
    """

    __slots__ = (
        "_begun",
        "_called",
        "_chunks",
        "_ended",
        "_fallback_id",
        "_queries",
        "error",
        "usage",
    )

    def __init__(self, *, created: int, answer_id: str = "") -> None:
        self.usage: dict[str, Any] = {}
        self.error: dict[str, Any] | None = None
        self._chunks = Chunks(created, answer_id)
        self._fallback_id = answer_id
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._called: dict[int, int] = {}
        self._queries: dict[int, int] = {}

    @property
    def searches(self) -> int:
        """Web searches so far; a later piece restates the queries of an earlier one."""
        return sum(self._queries.values())

    @property
    def id(self) -> str:
        """The provider's id of the answer, or the one given until it is known."""
        return self._chunks.id

    @property
    def model(self) -> str:
        """The model that answers, as the provider names it; empty until it is known."""
        return self._chunks.model

    @property
    def finished(self) -> bool:
        """Whether all that has begun has ended."""
        return bool(self._ended) and self._begun <= self._ended

    @property
    def ended(self) -> bool:
        """The same: no marker comes after the last candidate."""
        return self.finished

    def feed(self, data: Json) -> list[Json]:
        """The chunks that a piece gives: none, one, or a few."""
        error = data.get("error")
        if error is not None:
            self.error = error if isinstance(error, dict) else {"message": str(error)}
            return []
        self.usage = _raw_usage(data) or self.usage
        if self._chunks.id == self._fallback_id and data.get("responseId"):
            self._chunks.id = str(data["responseId"])
        if data.get("modelVersion"):
            self._chunks.model = str(data["modelVersion"])
        chunks: list[Json] = []
        candidates = data.get("candidates")
        for place, candidate in enumerate(candidates if isinstance(candidates, list) else []):
            if isinstance(candidate, dict):
                chunks += self._candidate(candidate, _index(candidate, place))
        if _blocked(data) and not self._ended:
            chunks += [*self._begin(0), self._end(0, "content_filter")]
        return chunks

    def final_usage_chunk(self) -> Json:
        """The chunk without choices that tells the usage; null if the provider told none."""
        return self._chunks.last(gemini_usage(self.usage))

    def _candidate(self, candidate: Json, index: int) -> list[Json]:
        chunks = self._begin(index)
        self._queries[index] = max(self._queries.get(index, 0), _queries(candidate))
        found = _Found(candidate)
        delta: Json = {}
        if found.reasoning:
            delta["reasoning_content"] = found.reasoning
        if found.text:
            delta["content"] = found.text
        if found.calls:
            delta["tool_calls"] = [self._call(*call, index) for call in found.calls]
        delta.update(found.media)
        logprobs = _logprobs(candidate)
        if delta or logprobs:
            chunks.append(self._chunks.delta(delta, index=index, logprobs=logprobs))
        reason = candidate.get("finishReason")
        if reason is not None and index not in self._ended:
            chunks.append(self._end(index, finish_reason(reason, called=index in self._called)))
        return chunks

    def _begin(self, index: int) -> list[Json]:
        if index in self._begun:
            return []
        self._begun.add(index)
        return [self._chunks.delta({"role": "assistant", "content": ""}, index=index)]

    def _end(self, index: int, reason: str) -> Json:
        self._ended.add(index)
        return self._chunks.delta({}, index=index, finish_reason=reason)

    def _call(self, call: Json, signature: object, index: int) -> Json:
        number = self._called.get(index, 0)
        self._called[index] = number + 1
        made = _tool_call(call, signature, _call_id(call, self._chunks.id, index, number))
        return {"index": number, **made}


class _Found:
    """What the parts of a candidate come to."""

    __slots__ = ("calls", "media", "reasoning", "text")

    def __init__(self, candidate: Json) -> None:
        self.text = ""
        self.reasoning = ""
        self.calls: list[tuple[Json, object]] = []
        self.media: Json = {}
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else []:
            if isinstance(part, dict):
                self._take(part)

    def _take(self, part: Json) -> None:
        if isinstance(part.get("text"), str):
            if part.get("thought") is True:
                self.reasoning += part["text"]
            else:
                self.text += part["text"]
        elif isinstance(part.get("functionCall"), dict):
            self.calls.append((part["functionCall"], part.get("thoughtSignature")))
        elif isinstance(part.get("inlineData"), dict):
            self._take_media(part["inlineData"])

    def _take_media(self, media: Json) -> None:
        kind, data = str(media.get("mimeType") or ""), str(media.get("data") or "")
        if kind.startswith("image/"):
            url = {"url": f"data:{kind};base64,{data}"}
            self.media.setdefault("images", []).append({"type": "image_url", "image_url": url})
        elif kind.startswith("audio/"):
            self.media["audio"] = {"data": data, "format": kind.removeprefix("audio/")}


def _tool_call(call: Json, signature: object, call_id: str) -> Json:
    made = openai_reply.tool_call(call_id, str(call.get("name") or ""), call.get("args"))
    if isinstance(signature, str):
        made["extra_content"] = {"google": {"thought_signature": signature}}
    return made


def _call_id(call: Json, answer_id: str, index: int, number: int) -> str:
    """The provider's id of a call, or one that no other call of the conversation has."""
    if call.get("id"):
        return str(call["id"])
    seed = _NOT_IN_AN_ID.sub("", answer_id)[-_LONGEST_ID_SEED:]
    return f"call_{seed}_{index}_{number}"


def _index(candidate: Json, place: int) -> int:
    index = candidate.get("index")
    return index if isinstance(index, int) else place


def _blocked(reply: Json) -> bool:
    feedback = reply.get("promptFeedback")
    return isinstance(feedback, dict) and bool(feedback.get("blockReason"))


def _raw_usage(reply: Json) -> Json:
    """The usage of an answer if it has counts: Vertex may send only the kind of traffic."""
    raw = reply.get("usageMetadata")
    if isinstance(raw, dict) and any(raw.get(key) is not None for key in _COUNTS):
        return raw
    return {}


def _logprobs(candidate: Json) -> Json | None:
    result = candidate.get("logprobsResult")
    if not isinstance(result, dict) or not isinstance(result.get("chosenCandidates"), list):
        return None
    chosen, others = result["chosenCandidates"], result.get("topCandidates") or []
    content = []
    for place, token in enumerate(chosen):
        top = others[place].get("candidates") or [] if place < len(others) else []
        content.append({**_logprob(token), "top_logprobs": [_logprob(each) for each in top]})
    return {"content": content, "refusal": None}


def _logprob(token: Json) -> Json:
    text = str(token.get("token") or "")
    return {
        "token": text,
        "logprob": token.get("logProbability", 0),
        "bytes": list(text.encode()),
    }
