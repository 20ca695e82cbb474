"""The scripted provider as a process of its own.

Prints one line of JSON with its URL, and stops on SIGTERM, SIGINT or when stdin closes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys

import uvloop

from tests.scripted.asked import FLAVOURS
from tests.scripted.provider import ScriptedProvider
from tests.scripted.script import Script


def main() -> None:
    """Read the command line and serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m tests.scripted", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--flavour", choices=FLAVOURS, default="openai")
    parser.add_argument("--script", type=json.loads, default={}, help="fields of Script, as JSON")
    parser.add_argument("--api-key", help="refuse every other key with 401")
    parser.add_argument("--no-record", action="store_true", help="keep totals only, and be fast")
    parser.add_argument("--ignore-stdin", action="store_true", help="stop on signals alone")
    uvloop.run(_serve(parser.parse_args()))


async def _serve(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    provider = ScriptedProvider(
        options.flavour,
        script=Script().amended(options.script),
        record=not options.no_record,
        api_key=options.api_key,
        port=options.port,
    )
    async with provider:
        print(json.dumps({"url": provider.url}), flush=True)
        if options.ignore_stdin:
            await stopped.wait()
            return
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        ends = [asyncio.ensure_future(stopped.wait()), asyncio.ensure_future(reader.read())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    main()
