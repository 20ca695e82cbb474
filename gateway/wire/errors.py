"""What a provider says went wrong, in whatever shape it says it.

Owns finding the sentence meant for people inside an error body: OpenAI's, Anthropic's, Gemini's
(an object, or an array of one), Mistral's, Ollama's, FastAPI's, or a proxy's HTML page. Promises
to return one line of bounded length, never to raise, and to leave out what looks like a secret,
because some providers repeat the key that they refuse. It will not know what an error means.
"""

from __future__ import annotations

import re

import msgspec

LONGEST_MESSAGE = 600
"""Characters of the longest message that is passed on."""

NO_REASON = "the provider gave no reason"

_DEEPEST = 6
_STATUS_KEYS = ("status", "status_code", "code")
_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What Anthropic's types of errors mean (API reference, errors)."""
_MESSAGE_KEYS = (
    "error",
    "message",
    "detail",
    "msg",
    "errors",
    "error_description",
    "title",
)
_TAGS = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_SECRET_ITSELF = re.compile(
    r"""\b(?:
        (?:bearer|basic)\s+[^\s"',;]{4,}
      | (?:sk|pk|rk|gsk|xai|hf|jg|ghp|gho)[-_][\w.*-]{3,}
      | AIza[\w-]{8,}
      | ya29\.[\w.-]+
      | AKIA[0-9A-Z]{12,}
      | eyJ[\w-]{8,}\.[\w.-]+
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_SECRET_BY_NAME = re.compile(
    r"""(
        \b(?:[\w-]*key|[\w-]*token|secret|password|sig|signature)=
      | \b(?:[\w-]*api[-_\s]?key|[\w-]*secret|password|[\w-]*authorization|access[-_]token)
        (?:\s+provided)?["']?\s*[:=]\s*["']?
    )[^\s"'&,;)}<>]+""",
    re.IGNORECASE | re.VERBOSE,
)


def provider_message(body: bytes) -> str:
    """The sentence for people inside an error body; at most LONGEST_MESSAGE characters, one line.

    A body of no known shape gives its own text, shortened. Never raises.
    """
    try:
        found = _find(msgspec.json.decode(body), _DEEPEST)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        found = _TAGS.sub(" ", body[: 8 * LONGEST_MESSAGE].decode("utf-8", "replace"))
    line = without_secrets(" ".join(found.split()))
    if len(line) > LONGEST_MESSAGE:
        line = line[: LONGEST_MESSAGE - 1] + "…"
    return line or NO_REASON


def error_status(body: bytes) -> int | None:
    """The HTTP status that an error body names inside, for one that came as a success.

    None when it names none. Never raises.
    """
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if isinstance(found, list) and found:
        found = found[0]
    outer = found if isinstance(found, dict) else {}
    error = outer.get("error")
    for place in (error if isinstance(error, dict) else {}, outer):
        for key in _STATUS_KEYS:
            status = _status(place.get(key))
            if status is not None:
                return status
        if (kind := place.get("type")) and isinstance(kind, str) and kind in _STATUS_OF_TYPE:
            return _STATUS_OF_TYPE[kind]
    return None


def tells_error(body: bytes) -> bool:
    """Whether a body that came as a success is an error in one of the shapes that errors have.

    False for what cannot be read: it may be an answer that was lost on its way. Never raises.
    """
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, dict):
        return False
    named = found.get("type") == "error" or found.get("object") == "error"
    return named or any(found.get(key) for key in _MESSAGE_KEYS)


def _status(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    is_status = isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599
    return value if is_status and isinstance(value, int) else None


def without_secrets(text: str) -> str:
    """The text with everything that looks like a key, a token or a password taken out."""
    return _SECRET_BY_NAME.sub(r"\1[secret]", _SECRET_ITSELF.sub("[secret]", text))


def _find(value: object, depth: int) -> str:
    if isinstance(value, str):
        # Some gateways wrap the provider's own body, as text, in an error of theirs.
        if depth and value.startswith(("{", "[")):
            try:
                return _find(msgspec.json.decode(value), depth - 1) or value
            except (msgspec.MsgspecError, ValueError, RecursionError):
                return value
        return value
    if not depth:
        return ""
    if isinstance(value, list):
        found = (_find(each, depth - 1) for each in value[:5])
        return "; ".join(each for each in found if each)
    if isinstance(value, dict):
        for key in _MESSAGE_KEYS:
            message = _find(value.get(key), depth - 1)
            if message:
                return _place(value) + message
    return ""


def _place(error: dict[str, object]) -> str:
    """Where a validation error is, as FastAPI and Mistral say it: `body.messages.0: `."""
    place = error.get("loc")
    if not isinstance(place, list):
        return ""
    return ".".join(str(step) for step in place if isinstance(step, str | int)) + ": "
