"""The tables.

Moments are milliseconds since 1970 in UTC, days are ISO 8601 dates in UTC, money is whole nano-dollars, flags are 0 or
1, documents are JSON text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    "bill",
    "card",
    "chunks",
    "counter",
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
    "transition",
    "tuned_model",
    "usage",
    "watch",
]

PENDING: Final = "pending"
SENT: Final = "sent"
DEAD: Final = "dead"
LOW: Final = 10**18
"""What a counter carries over at: sums of bounded figures outgrow 64 bits."""
CHUNK: Final = 500
"""Values in one IN: databases limit the parameters of a statement."""

_Value = TypeVar("_Value")

metadata = sa.MetaData()
_Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

organization = sa.Table(
    "organization",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("horizon", sa.BigInteger),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
    # whether only a part of the first look is stored: what else it finds is history too
    sa.Column("partial", sa.Integer, nullable=False, server_default="0"),
)

job = sa.Table(
    "job",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),  # 0 where the provider does not tell
    sa.Column("ended_at", sa.BigInteger),  # over, or gone from the provider; NULL while we follow it
    sa.Column("finalized", sa.Integer, nullable=False),
    sa.Column("stub", sa.Integer, nullable=False, server_default="0"),  # past retention, kept to be known
    sa.Column("basis", sa.Text),  # of its cost, once it is over
    sa.Column("doc", sa.Text, nullable=False),  # Tracked
    sa.Index("job_listing", "created_at", "org", "id"),
    sa.Index("job_model", "org", "model", "created_at"),
    sa.Index("job_status", "org", "status", "created_at", "id"),
    sa.Index("job_finalized", "org", "finalized", "id"),
    sa.Index("job_ended", "ended_at"),
    sa.Index("job_basis", "basis", "org", "model"),
)

# By the id, which every index has. No LIKE: SQLite's makes no difference between upper and lower case.
is_batch: Final = sa.func.substr(job.c.id, 1, len(BATCH_PREFIX)) == BATCH_PREFIX
"""Whether a row of `job` is a batch and no fine-tuning job."""

event = sa.Table(
    "event",
    metadata,
    sa.Column("pos", _Big, primary_key=True, autoincrement=True),
    sa.Column("org", sa.Text, nullable=False),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),  # 0 where the provider does not tell
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
    sa.Column("org", sa.Text, nullable=False),  # empty of what is about no single one
    sa.Column("subject_id", sa.Text, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("generation", sa.Text, nullable=False, server_default=""),  # of the restore it came after
    sa.Column("message", sa.Text, nullable=False),  # Message
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("touched_at", sa.BigInteger, nullable=False),  # by the clock that set due_at
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("owner", sa.Text),  # whoever claimed it and has not said what became of it
    sa.Column("ambiguous", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("answer", sa.Text),  # of the last refusal: the status and its first words
    sa.Column("settled_at", sa.BigInteger),
    sa.Column("reference", sa.Text),
    sa.Column("hold", sa.Text),  # until it is due, and what waits under the same name goes out with it
    sa.Column("bundle", sa.Text),  # the key of the row that is sent for this one and for itself
    sa.Column("redelivered", sa.Integer, nullable=False, server_default="0"),  # asked for again: news goes first
    sa.Column("card", sa.Integer, nullable=False, server_default="0"),  # whether it belongs to its subject's card
    sa.Index("outbox_bundle", "bundle"),
    sa.Index("outbox_due", "state", "notifier", "redelivered", "due_at"),
    sa.Index("outbox_order", "subject_kind", "org", "subject_id", "notifier", "state", "seq"),
    sa.Index("outbox_listing", "created_at", "key"),
    sa.Index("outbox_settled", "settled_at"),
)

card = sa.Table(
    "card",
    metadata,
    sa.Column("subject_kind", sa.Text, primary_key=True),
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("subject_id", sa.Text, primary_key=True),
    sa.Column("notifier", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),  # with its #; empty where it is the notifier's own
    sa.Column("place", sa.Text),  # where it stands, as the receiver said; NULL, like the next, when it was lost
    sa.Column("reference", sa.Text),
    sa.Column("shown", sa.Text),  # the appearance of what it says
    sa.Column("changes", sa.BigInteger, nullable=False),  # how often its job has changed
    sa.Column("edited_at", sa.BigInteger),
    sa.Column("due_at", sa.BigInteger),  # when it is looked at; NULL when there is nothing to say
    sa.Column("owner", sa.Text),  # whoever edits it and has not said what became of that
    sa.Column("attempts", sa.BigInteger, nullable=False),  # since it was last edited well
    sa.Column("posts", sa.BigInteger, nullable=False),  # how often it was posted anew, since it was lost
    sa.Column("charts", sa.BigInteger, nullable=False, server_default="0"),  # how often its curve was to be shown
    sa.Index("card_due", "notifier", "due_at"),
)

counter = sa.Table(
    "counter",
    metadata,
    sa.Column("metric", sa.Text, primary_key=True),
    sa.Column("labels", sa.Text, primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),  # below LOW, of the whole
    sa.Column("carry", sa.BigInteger, nullable=False, server_default="0"),  # how many times LOW
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),  # replica
)

replica = sa.Table(
    "replica",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("until", sa.BigInteger, nullable=False),  # what it holds is its own until then
)

lane = sa.Table(
    "lane",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text),  # replica, while it sends
    sa.Column("free_at", sa.BigInteger, nullable=False),
)

suspension = sa.Table(
    "suspension",
    metadata,
    sa.Column("notifier", sa.Text, primary_key=True),
    sa.Column("probe_at", sa.BigInteger, nullable=False),
)
"""Notifiers whose target refuses them for good, where several replicas use it."""

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
    sa.Column("input_nanodollars", sa.BigInteger),  # NULL, like the next two, where there was no price
    sa.Column("cached_input_nanodollars", sa.BigInteger),
    sa.Column("output_nanodollars", sa.BigInteger),
    sa.Index("usage_day", "day"),
)

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
)

notice = sa.Table(
    "notice",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("judged_by", sa.Text),  # the amount of a budget, or when an organisation that is down was seen last
    sa.Index("notice_topic", "topic"),
)

watch = sa.Table(
    "watch",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("up", sa.Integer),  # NULL before the first poll came to its end
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
"""When a database that was older than what had been seen before was accepted."""

progress = sa.Table(
    "progress",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
)
"""One row: how many transactions have written to the file. The lock remembers it, to notice one that is older."""

hint = sa.Table(
    "hint",
    metadata,
    sa.Column("org", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),  # of the provider's webhook
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("settled", sa.Integer, nullable=False),  # read back, or given up
    sa.Index("hint_open", "settled", "org"),
    sa.Index("hint_age", "at"),
)


def chunks(values: Sequence[_Value]) -> Iterator[list[_Value]]:
    """The values, as many at a time as one statement may have."""
    return (list(values[start : start + CHUNK]) for start in range(0, len(values), CHUNK))
