"""What a log line may look like, whatever was in the message.

Promises: an event is told from its first line, which nobody but us can begin: what a message
brings along in line breaks is indented, and no other control character gets through to a
terminal. What looks like a key, a token or a password is taken out. Of an error that nobody
expected, the log has its kind and where it happened, but not its own words: they may quote a
prompt or a key.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType

from gateway.wire.errors import without_secrets

_SHAPE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_INDENTED = "\n    "
_DEEPEST = 8
"""Causes of an error that are told."""
_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

log = logging.getLogger(__name__)


class LogLines(logging.Formatter):
    """Makes lines of events."""

    def __init__(self) -> None:
        super().__init__(_SHAPE)

    def format(self, record: logging.LogRecord) -> str:
        """The whole of an event; another handler's traceback is not taken over."""
        record.exc_text = None
        told = super().format(record)
        record.exc_text = None
        return told

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The event on one line, or on its first."""
        return plain(super().formatMessage(record))

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 - logging's name
        """Where it happened, and what kind of error it was."""
        error = ei[1]
        return "" if error is None else plain("    " + "\n".join(_told(error)))


def plain(text: str) -> str:
    """A text without secrets and without control characters; its further lines are indented."""
    shown = (c if c == "\n" or c.isprintable() else _escaped(c) for c in without_secrets(text))
    return "".join(shown).rstrip("\n").replace("\n", _INDENTED)


def say_where_it_broke() -> None:
    """Let errors that end the program, or a thread, be told like any other."""

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("an error ends the program", exc_info=(kind, error, trace))

    def thread_ended(what: threading.ExceptHookArgs) -> None:
        if what.exc_value is not None and what.exc_type is not SystemExit:
            raised = (what.exc_type, what.exc_value, what.exc_traceback)
            log.critical("an error ends a thread", exc_info=raised)

    sys.excepthook, threading.excepthook = ended, thread_ended


def _told(error: BaseException) -> Iterator[str]:
    cause: BaseException | None = error
    for _ in range(_DEEPEST):
        if cause is None:
            return
        yield "".join(traceback.format_tb(cause.__traceback__)).rstrip()
        yield type(cause).__qualname__
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
        if cause is not None:
            yield "which came of:"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
