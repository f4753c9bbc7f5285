"""Opens a database: found sound, brought to our schema, freed of what a dead process left, and closed again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import anyio
import sqlalchemy as sa
from anyio import to_thread

from monitor.clock import Clock
from monitor.store import claiming, leasing
from monitor.store.documents import to_ms
from monitor.store.errors import StoreError
from monitor.store.faults import translated
from monitor.store.migrating import migrate
from monitor.store.sqlite import DatabaseFile, path_of, reader_engine, verify, writer_engine
from monitor.store.store import Store
from monitor.store.writer import Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Database:
    """An open database."""

    file: DatabaseFile
    writer: sa.Engine
    readers: sa.Engine

    def close(self) -> None:
        """Readers first: whoever is the last to close moves the WAL into the file, and that is the writer's to do."""
        self.readers.dispose()
        self.writer.dispose()
        self.file.release()


@asynccontextmanager
async def opened_sqlite(url: str, *, clock: Clock) -> AsyncIterator[Store]:
    """The store of this file."""
    database = await to_thread.run_sync(_open, url, clock.now())
    try:
        check = database.file.check
        yield Store(Writer(database.writer, check), database.readers, check, clock)
    finally:
        with anyio.CancelScope(shield=True):  # bounded by one last write of the WAL
            await to_thread.run_sync(database.close)


def _open(url: str, now: datetime) -> _Database:
    path = path_of(url)
    database = _Database(file=DatabaseFile(path), writer=writer_engine(path), readers=reader_engine(path))
    try:
        verify(database.writer)
        migrate(database.writer)
        with database.writer.begin() as connection:
            # we are alone here: whatever is leased was leased by a process that is no more
            leasing.release_all(connection)
            claiming.release(connection, to_ms(now))
        database.file.remember()
    except (sa.exc.SQLAlchemyError, StoreError) as error:
        database.close()
        raise translated(error) from error
    except BaseException:
        database.close()
        raise
    return database
