"""What a running gateway knows of its keys is never older than what it knew before."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from sqlalchemy import event

from gateway.background import Freshness
from gateway.callers.callers import KeyRing
from gateway.callers.registry import NewKey, Registry
from gateway.clock import FrozenClock
from gateway.store.database import Database
from gateway.store.schema import migrate
from gateway.treasury.raises import RaiseBook
from tests.gateways import TESTER


def test_a_reading_that_began_earlier_does_not_replace_what_a_later_one_found(
    tmp_path: Path,
) -> None:
    clock, database = FrozenClock(), Database(f"sqlite:///{tmp_path}/books.db")
    migrate(database)
    keys = KeyRing(database, "main", clock)
    fresh = Freshness(database, keys, RaiseBook(database, "main", clock))
    earlier, later = (threading.Thread(target=fresh.refresh) for _ in range(2))
    held, go_on = threading.Event(), threading.Event()

    def hold_the_earlier(statement: str) -> None:
        if threading.current_thread() is earlier and " FROM keys" in statement:
            held.set()
            go_on.wait(10)

    def traced(connection: Any, _record: object) -> None:
        connection.set_trace_callback(lambda text: hold_the_earlier(" ".join(text.split())))

    database.engine.dispose()
    event.listen(database.engine, "connect", traced)
    earlier.start()
    assert held.wait(10), "it has seen that there is no key, and is about to say so"
    _id, secret = Registry(database, "main", clock).create(NewKey(team="a", app="b"), TESTER)
    later.start()
    later.join(0.5)
    go_on.set()
    earlier.join(10)
    later.join(10)
    assert keys.authenticate(f"Bearer {secret}").team == "a"
    database.close()
