"""What is said of a job in a terminal, in words: times, spans, costs, changes."""

from __future__ import annotations

from datetime import datetime, timedelta

from monitor.domain.pricing import spoken
from monitor.domain.render import span
from monitor.terminal.answers import Failure, Job, Transition
from monitor.terminal.look import inert


def clock_time(at: datetime) -> str:
    """A moment in UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%SZ")


def age(at: datetime | None, now: datetime) -> str:
    """How long ago, in one unit: `5m`, `3h`, `12d`; empty where that is not known."""
    return span(max(now - at, timedelta(0))).partition(" ")[0] if at is not None else ""


def moment(at: datetime, now: datetime) -> str:
    """When, and how far that is from now."""
    return f"{clock_time(at)}, {f'{span(now - at)} ago' if at <= now else f'in {span(at - now)}'}"


def cost(of: Job) -> str:
    """`$2.40`, `about $2.40`, `about $2.40 (between $2.10 and $2.90)`; empty where it is not known."""
    return spoken(of.cost.cost) if of.cost.usd is not None else ""


def short_cost(of: Job) -> str:
    """`$2.40`, or `~$2.40` for an estimate."""
    return cost(of).partition(" (")[0].replace("about ", "~")


def model(of: Job) -> str:
    """The base model and how it is tuned."""
    return ", ".join(filter(None, (inert(of.model), inert(of.method, 40) if of.method != "unknown" else "")))


def failure(of: Failure) -> str:
    """What kind of failure it is, and whether another try can help."""
    advice = {True: "may be tried again", False: "will fail again unchanged", None: ""}[of.retryable]
    kind = ": ".join(filter(None, (inert(of.cls, 40), advice)))
    return f"{inert(of.code, 80) or 'no reason given'}{f' ({kind})' if kind else ''}"


def change(of: Transition) -> str:
    """What happened to a job."""
    after = inert(of.after, 40)
    match of.kind:
        case "stalled":
            return f"{after}, without a sign of life"
        case "gone":
            return "the provider does not know it any more"
        case "back":
            return f"the provider knows it again: {after}"
        case "baseline":
            return f"first seen: {after}"
        case "appeared":
            return f"appeared: {after}"
        case _:
            return f"{inert(of.before, 40)} → {after}" if of.before and of.before != of.after else after
