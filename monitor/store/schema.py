"""The tables of the database.

Times are milliseconds since 1970 (UTC), days are ISO 8601 dates in UTC, amounts of money are whole nano-dollars, flags
are 0 or 1, and documents are JSON text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from monitor.domain.model import BATCH_PREFIX

__all__ = [
    "CHUNK",
    "DEAD",
    "LOW",
    "PENDING",
    "SENT",
    "batches",
    "bill",
    "card",
    "chunks",
    "counter",
    "deployment",
    "event",
    "hint",
    "import_state",
    "insert",
    "is_batch",
    "job",
    "lane",
    "lease",
    "metadata",
    "notice",
    "organization",
    "outbox",
    "progress",
    "replica",
    "restore",
    "spending",
    "suspension",
    "total",
    "training_day",
    "transition",
    "tuned_model",
    "usage",
    "watch",
]

PENDING: Final = "pending"
SENT: Final = "sent"
DEAD: Final = "dead"
LOW: Final = 10**18
"""The base of a counter's two columns, `amount` and `carry`, because its value may exceed 64 bits."""
CHUNK: Final = 500
"""The most values in one IN clause: databases limit the parameters of a statement."""

_Value = TypeVar("_Value")

_OF_LIST: Final = sa.text("of_list IS NOT NULL")

metadata = sa.MetaData()
_Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

organization = sa.Table(
    "organization",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("horizon", sa.BigInteger),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
    # whether only a part of the first sight is stored, so that the rest of it is history too
    sa.Column("partial", sa.Integer, nullable=False, server_default="0"),
    sa.Column("place", sa.Text),  # what names the jobs that are listed; NULL if that was never stored
)

job = sa.Table(
    "job",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),  # 0 if unknown
    sa.Column("ended_at", sa.BigInteger),  # when it ended or was found to be gone; NULL while it is active
    sa.Column("finalized", sa.Integer, nullable=False),
    sa.Column("stub", sa.Integer, nullable=False, server_default="0"),  # past its retention, kept to stay known
    sa.Column("basis", sa.Text),  # the basis of the cost of a fine-tuning job that succeeded
    sa.Column("doc", sa.Text, nullable=False),  # Tracked
    sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),  # of the organisation, when it was written
    sa.Column("of_list", sa.Text),  # the list it is on, if it was stored before the ids of its provider named that
    sa.Index("job_listing", "created_at", "org", "id"),
    sa.Index("job_model", "org", "model", "created_at"),
    sa.Index("job_status", "org", "status", "created_at", "id"),
    sa.Index("job_in_status", "status", "created_at", "org", "id"),
    sa.Index("job_finalized", "org", "finalized", "id", "status"),  # covers the query for finished jobs at the start
    sa.Index("job_ended", "ended_at"),
    sa.Index("job_of_org", "org", "created_at", "id"),
    sa.Index("job_version", "org", "version"),
    sa.Index("job_of_list", "org", "id", sqlite_where=_OF_LIST, postgresql_where=_OF_LIST),
)

# By the id, which is in every index. Without LIKE, which ignores case in SQLite.
is_batch: Final = sa.func.substr(job.c.id, 1, len(BATCH_PREFIX)) == BATCH_PREFIX
"""Whether a row of `job` is a batch."""

event = sa.Table(
    "event",
    metadata,
    sa.Column("pos", _Big, primary_key=True, autoincrement=True),
    sa.Column("org", sa.Text, nullable=False),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),  # 0 if unknown
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("step", sa.BigInteger),
    sa.Column("doc", sa.Text, nullable=False),  # JobEvent
    sa.UniqueConstraint("org", "job", "id", name="event_identity"),
    sqlite_autoincrement=True,
)

transition = sa.Table(
    "transition",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("resumed", sa.Integer, nullable=False),
    sa.Column("restarted", sa.Integer, nullable=False),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("notifier", sa.Text, nullable=False),
    sa.Column("subject_kind", sa.Text, nullable=False, server_default="job"),
    sa.Column("org", sa.Text, nullable=False),  # empty if the subject concerns no single organisation
    sa.Column("subject_id", sa.Text, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("generation", sa.Text, nullable=False, server_default=""),  # marks keys after a restore
    sa.Column("message", sa.Text, nullable=False),  # Message
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("touched_at", sa.BigInteger, nullable=False),  # when due_at was set
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("owner", sa.Text),  # the process that has claimed it and has not stored an outcome
    sa.Column("ambiguous", sa.Integer, nullable=False),  # whether an earlier attempt may have arrived
    sa.Column("reason", sa.Text),
    sa.Column("answer", sa.Text),  # the status and the beginning of the last response
    sa.Column("settled_at", sa.BigInteger),
    sa.Column("reference", sa.Text),
    sa.Column("hold", sa.Text),  # the group that it is sent with when it becomes due
    sa.Column("bundle", sa.Text),  # the key of the row that leads its bundle
    sa.Column("redelivered", sa.Integer, nullable=False, server_default="0"),  # sent after news
    sa.Column("card", sa.Integer, nullable=False, server_default="0"),  # whether it belongs to its subject's card
    sa.Index("outbox_bundle", "bundle"),
    sa.Index("outbox_order", "subject_kind", "org", "subject_id", "notifier", "state", "seq"),
    sa.Index("outbox_listing", "created_at", "key"),
    sa.Index("outbox_in_state", "state", "created_at", "key"),
    sa.Index("outbox_settled", "settled_at"),
)


def is_pending(deliveries: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether deliveries are pending: as a literal, because databases use no partial index for a parameter."""
    return deliveries.c.state == sa.literal_column(f"'{PENDING}'")


def in_state(deliveries: sa.FromClause, *states: str) -> sa.ColumnElement[bool]:
    """Whether deliveries are in one of the states, in queries that another index answers: SQLite prefers the one by
    state, which finds all that wait, or all that were ever sent.
    """
    return sa.func.coalesce(deliveries.c.state, "").in_(states)


def _partial(name: str, *columns: str, where: sa.ColumnElement[bool]) -> None:
    sa.Index(name, *(outbox.c[column] for column in columns), sqlite_where=where, postgresql_where=where)


# Pending deliveries in the order in which they are sent, so that the first ones are found without reading the others.
_in_order = ("notifier", "redelivered", "due_at", "created_at", "org", "subject_id")
_of_group = ("notifier", "hold", "created_at", "org", "subject_id", "seq")
_held = is_pending(outbox) & outbox.c.hold.is_not(None)
_partial("outbox_due", *_in_order, where=is_pending(outbox))
_partial("outbox_held", *_of_group, where=_held)
_partial("outbox_held_due", "notifier", "due_at", "hold", where=_held)

card = sa.Table(
    "card",
    metadata,
    sa.Column("subject_kind", sa.Text, primary_key=True),
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("subject_id", sa.Text, primary_key=True),
    sa.Column("notifier", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),  # with its #; empty for the notifier's own channel
    sa.Column("place", sa.Text),  # the receiver's id of the channel; NULL if the card was lost
    sa.Column("reference", sa.Text),  # the receiver's id of the message; NULL if the card was lost
    sa.Column("shown", sa.Text),  # the hash of what it shows
    sa.Column("changes", sa.BigInteger, nullable=False),  # number of changes of its subject
    sa.Column("edited_at", sa.BigInteger),
    sa.Column("due_at", sa.BigInteger),  # when to edit it; NULL if it is up to date
    sa.Column("owner", sa.Text),  # the process that has claimed it and has not stored an outcome
    sa.Column("attempts", sa.BigInteger, nullable=False),  # attempts since the last successful edit
    sa.Column("posts", sa.BigInteger, nullable=False),  # posts since it was lost
    sa.Column("charts", sa.BigInteger, nullable=False, server_default="0"),  # attempts to attach a chart
    sa.Index("card_due", "notifier", "due_at"),
)

counter = sa.Table(
    "counter",
    metadata,
    sa.Column("metric", sa.Text, primary_key=True),
    sa.Column("labels", sa.Text, primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),  # the value modulo LOW
    sa.Column("carry", sa.BigInteger, nullable=False, server_default="0"),  # the value divided by LOW
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),  # the name of a replica
)

replica = sa.Table(
    "replica",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("until", sa.BigInteger, nullable=False),  # the end of its session, and of its leases
)

lane = sa.Table(
    "lane",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text),  # the name of the replica that is sending
    sa.Column("free_at", sa.BigInteger, nullable=False),
)

suspension = sa.Table(
    "suspension",
    metadata,
    sa.Column("notifier", sa.Text, primary_key=True),
    sa.Column("probe_at", sa.BigInteger, nullable=False),
)
"""The suspended notifiers, if several replicas share the database."""

spending = sa.Table(
    "spending",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("nanodollars", sa.BigInteger, nullable=False),
    sa.Column("doc", sa.Text, nullable=False),  # Spending
    sa.Index("spending_at", "at"),
)

usage = sa.Table(
    "usage",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("day", sa.Text, primary_key=True),
    sa.Column("batch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("input", sa.BigInteger, nullable=False),
    sa.Column("cached_input", sa.BigInteger, nullable=False),
    sa.Column("output", sa.BigInteger, nullable=False),
    sa.Column("input_nanodollars", sa.BigInteger),  # NULL, like the next two, if there is no price
    sa.Column("cached_input_nanodollars", sa.BigInteger),
    sa.Column("output_nanodollars", sa.BigInteger),
    sa.Index("usage_day", "day"),
)

deployment = sa.Table(
    "deployment",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("since", sa.BigInteger, primary_key=True, autoincrement=False),  # one deleted and made anew is another
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),  # when it was last seen
    sa.Column("nanodollars", sa.BigInteger, nullable=False),  # per hour
    sa.Index("deployment_until", "org", "until"),
)
"""Deployments of fine-tuned models that cost by the hour."""

bill = sa.Table(
    "bill",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("line_item", sa.Text, primary_key=True),
    sa.Column("day", sa.Text, primary_key=True),
    sa.Column("nanodollars", sa.BigInteger, nullable=False),
    sa.Index("bill_day", "org", "day"),
)

import_state = sa.Table(
    "import_state",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("usage_until", sa.Text),
    sa.Column("bill_until", sa.Text),
)

tuned_model = sa.Table(
    "tuned_model",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("base", sa.Text, nullable=False),
    sa.Column("shutdown", sa.Text),
    sa.Column("listed", sa.Integer, nullable=False),
    sa.Column("shared", sa.Integer, nullable=False),
    sa.Index("tuned_model_end", "shutdown", "org", "id"),
    sa.Index("tuned_model_of_org", "org", "shutdown", "id"),
)

# The two that follow are written by triggers alone (step 0013): readers need not count what grows with history.
total = sa.Table(
    "total",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),  # job, batch, unpriced, shutdown
    sa.Column("name", sa.Text, primary_key=True),  # a status, a status, a model, a day
    sa.Column("number", sa.BigInteger, nullable=False),
)
"""Counts of jobs and batches by status, ended jobs of unknown cost by model, and fine-tuned models by last day."""

training_day = sa.Table(
    "training_day",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),  # since 1970: both databases divide alike
    sa.Column("dollars", sa.BigInteger, nullable=False),
    sa.Column("nanodollars", sa.BigInteger, nullable=False),  # besides whole dollars: sums stay within 64 bits
)
"""What was spent on jobs that ended on a day."""

notice = sa.Table(
    "notice",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("judged_by", sa.Text),  # the amount of a budget, or since when something is down
    sa.Index("notice_topic", "topic"),
)

watch = sa.Table(
    "watch",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("up", sa.Integer),  # NULL before the end of the first poll
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("last_success", sa.BigInteger),
    sa.Column("next_poll", sa.BigInteger),
    sa.Column("trouble_reason", sa.Text),
    sa.Column("trouble_text", sa.Text),
    sa.Column("owner", sa.Text, nullable=False),
)

restore = sa.Table(
    "restore",
    metadata,
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
)
"""When an older, restored database was accepted."""

progress = sa.Table(
    "progress",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
)
"""One row with the number of transactions that have written to the file. The lock file keeps a copy of the number, by
which an older database file is detected."""

hint = sa.Table(
    "hint",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),  # the id of the provider's webhook
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("settled", sa.Integer, nullable=False),  # the end of the job was seen, or is no longer expected
    sa.Index("hint_open", "settled", "org"),
    sa.Index("hint_age", "at"),
)


def chunks(values: Iterable[_Value]) -> Iterator[list[_Value]]:
    """The values in lists of at most CHUNK."""
    return batches(values, CHUNK)


def batches(values: Iterable[_Value], size: int) -> Iterator[list[_Value]]:
    """The values in lists of at most `size`."""
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch
