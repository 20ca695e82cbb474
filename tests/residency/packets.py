"""Every packet that leaves a process on a network of its own.

Run as `unshare --user --map-root-user --net python -m tests.residency.packets`. In such a network
there is nothing but the loopback, and here every address in the world leads to it: whatever
anybody sends, to whomever, passes one interface and is seen. What answers is what listens there,
which is the provider in the house and the gateway itself.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import ScriptedProvider

EVERY_PROTOCOL, LOOPBACK = 3, "lo"
CLOUD = "203.0.113.10"
"""Where the providers that are not in the house seem to be: an address for documentation."""
_IPV4, _IPV6 = 0x0800, 0x86DD
_HOUSE = "127.0.0.1"


@dataclass
class Capture:
    """The addresses that packets were sent to."""

    sent_to: set[str] = field(default_factory=set)

    def read(self, raw: socket.socket) -> None:
        """Note packets until the socket is closed."""
        while True:
            try:
                frame = raw.recv(65_535)
            except OSError:
                return
            kind = struct.unpack("!H", frame[12:14])[0]
            if kind == _IPV4:
                self.sent_to.add(socket.inet_ntoa(frame[30:34]))
            elif kind == _IPV6:
                self.sent_to.add(socket.inet_ntop(socket.AF_INET6, frame[38:54]))
            else:
                self.sent_to.add(f"protocol {kind:#06x}")


@contextmanager
def capturing() -> Iterator[Capture]:
    """Every packet on the only interface there is."""
    capture = Capture()
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
    raw.bind((LOOPBACK, 0))
    raw.settimeout(0.2)
    stopping = threading.Event()

    def read() -> None:
        while not stopping.is_set():
            capture.read(raw)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield capture
    finally:
        stopping.set()
        reader.join()
        raw.close()


def own_network() -> None:
    """Make every address lead to the loopback."""
    for command in (
        f"ip link set {LOOPBACK} up",
        f"ip route add local 0.0.0.0/0 dev {LOOPBACK}",
        f"ip -6 route add local ::/0 dev {LOOPBACK}",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)


async def ask(gateway: RunningGateway, key: str, job: str, *, stream: bool) -> int:
    """The status of one request."""
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(
            f"{gateway.url}/v1/chat/completions",
            headers={"Authorization": f"Bearer {key}"},
            json={
                "model": job,
                "stream": stream,
                "messages": [{"role": "user", "content": "A secret of the house."}],
            },
        )
        return answer.status_code


async def proof() -> dict[str, object]:
    """What was sent where: with the house up, with the house down, and by a job that may."""
    with tempfile.TemporaryDirectory() as folder:
        async with ScriptedProvider() as house:
            rules = routes_for(f"http://{CLOUD}").replace(
                f'base_url: "http://{CLOUD}/ollama/v1"', f'base_url: "{house.url}/ollama/v1"'
            )
            async with running(rules, f"sqlite:///{folder}/books.db") as gateway:
                key = gateway.key()
                with capturing() as up:
                    answers = [await ask(gateway, key, "private", stream=s) for s in (False, True)]
                await house.__aexit__(None, None, None)
                with capturing() as down:
                    refusals = [
                        await ask(gateway, key, "private", stream=s) for s in (False, True) * 4
                    ]
                with capturing() as control:
                    abroad = await ask(gateway, key, "extraction", stream=False)
    return {
        "answers": answers,
        "refusals": refusals,
        "abroad": abroad,
        "sent_while_up": sorted(up.sent_to),
        "sent_while_down": sorted(down.sent_to),
        "sent_by_a_job_that_may": sorted(control.sent_to),
        "house": _HOUSE,
    }


if __name__ == "__main__":
    own_network()
    print(json.dumps(asyncio.run(proof())))
