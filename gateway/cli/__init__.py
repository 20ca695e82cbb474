"""The command line: `jobgate`, or `python -m gateway`."""

from __future__ import annotations

from gateway.cli.commands import main

__all__ = ["main"]
