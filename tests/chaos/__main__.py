"""`make chaos`: gateways that are killed, a database that goes away, a provider that fails.

Prints what the provider billed beside what the ledger has, and ends with status 1 if anything was
booked below its bill, or, where the provider reported it, not to the nano.
"""

from __future__ import annotations

import argparse
import random
import sys

import uvloop

from tests.chaos.run import run

ENGINES = ("sqlite", "postgresql")


def main() -> int:
    """Run on each engine in turn; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="of storm, in all")
    parser.add_argument("--seed", type=int, help="a number; another one each time if none is given")
    parser.add_argument("--engine", choices=(*ENGINES, "both"), default="both")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10_000) if options.seed is None else options.seed
    engines = ENGINES if options.engine == "both" else (options.engine,)
    offenders = 0
    for engine in engines:
        report = uvloop.run(run(engine, seed, options.seconds / len(engines)))
        print("\n".join(report.lines()), flush=True)
        offenders += len(report.offenders)
    return 1 if offenders else 0


if __name__ == "__main__":
    sys.exit(main())
