"""The errors of the store, by what the caller can do about them."""

from __future__ import annotations


class StoreError(Exception):
    """The base class of the store's errors. Their texts contain no secrets."""


class Stale(StoreError):
    """The change is based on an outdated version: read the state and decide again."""


class StoreUnavailable(StoreError):
    """The database cannot be used now, for example because its disk is full: nothing was stored; a retry may help."""


class InUse(StoreError):
    """Another process is using this database file."""


class NewerSchema(StoreError):
    """A newer version of this program wrote the database."""


class Corrupt(StoreError):
    """The database is damaged or belongs to another program. A person has to repair it."""


class Outdated(StoreError):
    """The database is older than it was before: a backup was restored, or its write-ahead log was lost."""


class Gone(StoreError):
    """The database file was deleted, replaced or truncated while in use, so that writes to it would be lost."""


class Unstorable(StoreError):
    """A single value cannot be stored, although others can."""


class BadCursor(StoreError):
    """The cursor is invalid."""
