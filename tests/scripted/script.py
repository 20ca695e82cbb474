"""What the scripted provider is told to do with one request: how to answer, and how to fail.

A script states usage in the disjoint classes of `gateway.metering.usage`; each wire format puts
them into its provider's own convention, so the bill is known without reading anything back.
A script that cannot be played as written raises ValueError: a fault that silently does not
happen would make a test that proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from json import JSONDecodeError, JSONDecoder
from typing import Any, Literal

MARKER = "script:"
_DECODER = JSONDecoder()


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """How the next answer behaves. Times are seconds, usage is tokens.

    Chunks are counted by their content: a chunk is a piece of text or of a tool call, and the
    opening and closing events of a format do not count. "After chunk 0" is after the opening
    events; `after = number of pieces` is after all content and before the end and its usage.
    Faults at a chunk belong to streams and are passed over in plain answers.
    """

    # what is said
    text: str | None = None
    """The answer; without it, the last words of the user come back."""
    chunks: tuple[str, ...] = ()
    """The answer in exactly these pieces; without it, a piece is a word."""
    thinking: str = ""
    tool_calls: tuple[tuple[str, str], ...] = ()
    """Name and arguments (JSON text) of each."""
    n: int | None = None
    """So many choices, whatever was asked."""
    finish: str | None = None
    """In OpenAI's words (stop, length, tool_calls, content_filter), translated where needed."""
    answer_id: str | None = None
    model_served: str | None = None
    service_tier: str | None = None

    # what it used; None is worked out from the request and the answer
    input: int | None = None
    cache_read: int = 0
    cache_read_audio: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int | None = None
    """Stated, it is billed even beyond the request's limit; worked out, it keeps the limit."""
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0
    requests: int = 0

    # how it is told
    omit_usage: bool = False
    wire_usage: Mapping[str, Any] | None = None
    """Sent instead of the true usage, word for word; the bill stays true."""
    usage_grows: bool = False
    """Early events of a stream state half of the input; the last states all (Anthropic, Gemini)."""
    tool_prompt: int = 0
    """The part of `input` that Gemini reports beside the prompt, as tool use."""
    usage_unasked: bool = False
    usage_place: Literal["own", "finish", "x_groq"] | None = None
    """Chat streams: a chunk without choices, the finishing chunk, or under `x_groq` in it."""
    usage_in_every_chunk: bool = False
    duplicate_usage: bool = False
    headers: tuple[tuple[str, str], ...] = ()

    # refusing
    status: int = 200
    error: str = ""
    """The message of an error; the shape is the provider's own."""
    body: str | None = None
    """Sent instead of any body, word for word, whatever the status."""
    content_type: str | None = None
    retry_after: float | None = None
    fail_first: int = 0
    """So many requests under this script are refused with `fail_status` before it plays."""
    fail_status: int = 503
    hang_up: bool = False
    """Close right after the request was read."""

    # time
    first_byte_delay: float = 0.0
    delay_between_chunks: float = 0.0
    stall_before_chunk: int | None = None
    """Say nothing more until `resume()`; in a plain answer, before its first byte."""
    burst: bool = False
    """Everything between two waits in one write."""

    # breaking
    cut_after_chunk: int | None = None
    """-1 is after everything but the end marker of the format."""
    cut_bytes: int | None = None
    """Cut after so many bytes of the body, plain or streamed."""
    cut_mode: Literal["reset", "eof", "end"] = "reset"
    """A TCP reset; a close without the end of the body; a well-ended body that lacks the rest."""
    generated_ahead: int = 0
    """Output tokens that were generated, and are billed, beyond what a broken stream sent."""
    truncate_json: bool = False
    """The body, or the chunk at which a stream is cut, stops in the middle of its JSON."""
    garbage_after: int | None = None
    error_event_after: int | None = None
    no_done: bool = False
    gzip: bool = False

    def __post_init__(self) -> None:
        if self.truncate_json and self.cut_after_chunk == -1:
            raise ValueError("the end marker has no JSON to truncate")

    @property
    def is_constant(self) -> bool:
        """Whether the answer is the same for every request of one shape and model."""
        said = self.text is not None or bool(self.chunks) or bool(self.tool_calls)
        stated = self.input is not None and self.output is not None
        return said and stated and not self.fail_first and self.body is None

    def amended(self, changes: Mapping[str, Any]) -> Script:
        """This script with fields from JSON. Raises ValueError for fields that do not exist."""
        unknown = changes.keys() - FIELDS
        if unknown:
            raise ValueError(f"a script has no {', '.join(sorted(unknown))}")
        return replace(self, **{name: _frozen(value) for name, value in changes.items()})


FIELDS = frozenset(field.name for field in fields(Script))


def marker_in(text: str) -> tuple[str, Mapping[str, Any]] | None:
    """The marker `script:{...}` of a message: its JSON as written, and read.

    Raises ValueError when the marker is there and its JSON is not.
    """
    at = text.find(MARKER + "{")
    if at < 0:
        return None
    start = at + len(MARKER)
    try:
        changes, end = _DECODER.raw_decode(text, start)
    except JSONDecodeError as wrong:
        raise ValueError(f"the script in the message is not JSON: {wrong}") from wrong
    return text[start:end], changes


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
