"""How the store fails, by what the caller can do about it."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot do what was asked. The text is safe to show."""


class Stale(StoreError):
    """The change was decided on knowledge that is no longer the newest: look again."""


class StoreUnavailable(StoreError):
    """The disk is full, failing, read-only or locked: nothing was stored, and trying again may help."""


class InUse(StoreError):
    """Another process has this database."""


class NewerSchema(StoreError):
    """A newer version of this program wrote the database."""


class Corrupt(StoreError):
    """The database is damaged, or is none of ours: a person must look at it."""


class Outdated(StoreError):
    """The database is older than what was seen of it before: a backup was restored, or its write-ahead log is gone."""


class Gone(StoreError):
    """The database file was deleted, replaced or cut under us: nothing written to it would last."""


class Unstorable(StoreError):
    """This one value cannot be stored; its neighbours could."""


class BadCursor(StoreError):
    """The cursor is none that a listing gave."""
