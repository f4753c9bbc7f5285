"""What a replay sends: stored transitions, told again to whom the present routes name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from monitor.domain.decide import Policy
from monitor.domain.flow import Delivery, Message, Tracked, Transition
from monitor.domain.message import seal
from monitor.domain.model import Job, Status
from monitor.domain.routing import route

MOST_LISTED: Final = 10_000
"""Envelopes of one replay that are named; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be told again."""

    since: timedelta
    """What was observed within this time."""
    notifier: str | None = None
    """To this notifier alone; None: to all."""
    dry_run: bool = False
    """Only say what would be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """An envelope that the outbox has."""

    type: str
    title: str
    waits: bool
    """It was neither sent nor given up yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A stored transition, its job as that is now, and by notifier the envelopes that tell it."""

    transition: Transition
    tracked: Tracked
    sealed: Mapping[str, Sealed] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One envelope of a replay, without its content."""

    org: str
    job: str
    seq: int
    notifier: str
    type: str
    title: str
    new: bool
    """There was none for this notifier: a route or a notifier was added since."""

    @property
    def key(self) -> str:
        """That of the delivery."""
        return f"{self.org}/{self.job}/{self.seq}@{self.notifier}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What telling some transitions again comes to."""

    letters: tuple[Letter, ...] = ()
    """In the order of their transitions."""
    new: tuple[Delivery, ...] = ()
    """The envelopes of those letters that are new."""
    waiting: int = 0
    """Envelopes that go out anyhow, and are left as they are."""

    @property
    def again(self) -> tuple[str, ...]:
        """The keys of the envelopes that go out once more."""
        return tuple(letter.key for letter in self.letters if not letter.new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay has done, or would do. At most MOST_LISTED letters are named, all are counted."""

    letters: tuple[Letter, ...] = ()
    again: int = 0
    new: int = 0
    waiting: int = 0

    def plus(self, letters: Iterable[Letter], waiting: int) -> Replayed:
        """With these letters too."""
        more = tuple(letters)
        new = sum(letter.new for letter in more)
        return Replayed(
            letters=(self.letters + more)[:MOST_LISTED],
            again=self.again + len(more) - new,
            new=self.new + new,
            waiting=self.waiting + waiting,
        )


def plan(pasts: Iterable[Past], policies: Mapping[str, Policy], notifier: str | None = None) -> Plan:
    """Tell these transitions again, as the routes of today want it; to one notifier alone, where it is named.

    What the outbox has goes out with the key and the content it had. What it lacks is composed as `decide` would have
    done. Organisations without a policy are no longer watched, and nothing is told of them.
    """
    letters: list[Letter] = []
    new: list[Delivery] = []
    waiting = 0
    for past, name, word, labels in _hearers(pasts, policies):
        sealed = past.sealed.get(name)
        if notifier not in (None, name):
            continue
        if sealed is None:
            new.append(seal(past.transition, past.tracked, notifier=name, word=word, labels=labels))
            letters.append(_letter(past.transition, name, new[-1].message, new=True))
        elif sealed.waits:
            waiting += 1
        else:
            letters.append(_letter(past.transition, name, sealed, new=False))
    return Plan(letters=tuple(letters), new=tuple(new), waiting=waiting)


def _hearers(
    pasts: Iterable[Past], policies: Mapping[str, Policy]
) -> Iterator[tuple[Past, str, str, Mapping[str, str]]]:
    """Each notifier that the routes give a transition, with the word it goes by and the organisation's labels."""
    for past in pasts:
        policy, tracked = policies.get(past.transition.org), as_it_was(past.tracked, past.transition)
        if policy is not None:
            for notifier, word in route(past.transition, tracked.job, policy.rules, policy.labels):
                yield replace(past, tracked=tracked), notifier, word, policy.labels


def _letter(of: Transition, notifier: str, told: Message | Sealed, *, new: bool) -> Letter:
    return Letter(org=of.org, job=of.job, seq=of.seq, notifier=notifier, type=told.type, title=told.title, new=new)


def as_it_was(tracked: Tracked, transition: Transition) -> Tracked:
    """The job as it may be told with a transition of its past.

    With its newest transition it is told as it is: it has not left that state. With an earlier one, what came later
    would be false ("started", with an end and a cost). Then it has the status that the transition led to, what never
    changes (name, model, method, metadata, creation), and its start, where it had started. Progress, tokens, cost,
    error, model and end of that moment are not known any more: they are absent, and never those of a later one.
    """
    if transition.seq >= tracked.seq:
        return tracked
    job = tracked.job
    before = Job(
        org=job.org,
        id=job.id,
        provider=job.provider,
        model=job.model,
        method=job.method,
        status=transition.after,
        name=job.name,
        created_at=job.created_at,
        started_at=job.started_at if _had_started(job, transition) else None,
        metadata=job.metadata,
        url=job.url,
    )
    return replace(tracked, job=before, cost=None)


def _had_started(job: Job, transition: Transition) -> bool:
    """Whether the start that we know of is one from before the transition."""
    ran = transition.after is Status.RUNNING or transition.restarted
    return ran and job.started_at is not None and job.started_at <= transition.at
