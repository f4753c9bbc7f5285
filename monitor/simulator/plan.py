"""When everything in a job's life happens: computed once when it is created, edited only by cancel, pause and resume.

All times are simulated unix seconds, with fractions. Nothing here runs: what a job is at a moment is read off its plan.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from monitor.simulator.draws import Span

FOREVER = float("inf")


class Ending(StrEnum):
    """How a job will end; the values are those of the metadata switch."""

    SUCCESS = "success"
    SERVER_ERROR = "server_error"
    MODERATION = "moderation"
    VALIDATION = "validation"
    STALL = "stall"
    STUCK_QUEUE = "stuck_queue"


class Status(StrEnum):
    """A job's status, as OpenAI spells it; `cancelling` is a word of the others."""

    VALIDATING = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long things take, in simulated seconds; a job draws its own numbers from these spans."""

    validation: Span = (15.0, 90.0)
    queue: Span = (20.0, 900.0)
    step: Span = (0.4, 2.5)
    reinforcement_step: Span = (240.0, 900.0)
    evaluation: Span = (30.0, 120.0)
    """From the last step to the end: checks against the usage policies."""
    announcement: Span = (5.0, 8.0)
    """From the end to the last event; the other final events fall in between."""
    cancellation: Span = (5.0, 40.0)
    """From the request to cancel to the end, where a provider takes its time; at OpenAI it is at once."""
    request: Span = (0.05, 2.0)
    """Between two answers of a batch."""
    finalizing: Span = (20.0, 120.0)
    """From a batch's last answer to its files."""
    window: Span = (86400.0, 86400.0)
    """What a batch has before it expires."""
    steps: int | None = None
    """Steps of every job; without it they follow from examples, epochs and batch size."""
    reported: float = 1.0
    """Seconds of the core training loop that are reported, and billed, for each second that a step takes."""

    def faster(self, speed: float) -> Pace:
        """The same life, `speed` times as fast, on a clock that is not."""
        spans = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("steps", "reported")}
        faster: dict[str, Any] = {name: (low / speed, high / speed) for name, (low, high) in spans.items()}
        return replace(self, **faster, reported=self.reported * speed)


@dataclass(frozen=True)
class Mark:
    """The moment from which a status holds."""

    at: float
    status: Status


@dataclass(frozen=True)
class Run:
    """Training without interruption: steps `first + 1` to `last`, one every `seconds`."""

    start: float
    first: int
    last: int
    seconds: float

    @property
    def end(self) -> float:
        """When the last step is done."""
        return self.done_at(self.last)

    def done_at(self, step: int) -> float:
        """When `step` is done."""
        return self.start + (step - self.first) * self.seconds

    def steps_by(self, now: float) -> int:
        """The last step done at `now`."""
        near = self.first + round((now - self.start) / self.seconds)
        done = near if self.done_at(near) <= now else near - 1
        return max(self.first, min(self.last, done))


@dataclass(frozen=True)
class Fault:
    """Why a job failed, as in its `error`."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, kw_only=True)
class Durations:
    """One job's draw from a Pace."""

    validation: float
    queue: float
    step: float
    evaluation: float
    announcement: float
    cancellation: float = 0.0
    reported: float = 1.0
    """As in Pace."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Marks in order of time, and the training between them."""

    marks: tuple[Mark, ...]
    durations: Durations
    total_steps: int
    ending: Ending
    fault: Fault | None = None
    runs: tuple[Run, ...] = ()

    @property
    def started_at(self) -> float | None:
        """When training starts for the first time."""
        return next((mark.at for mark in self.marks if mark.status is Status.RUNNING), None)

    @property
    def trained_at(self) -> float | None:
        """When the last step is done, where it will be: what follows are checks, and writing the results."""
        run = self.runs[-1] if self.runs else None
        return run.end if run is not None and run.last == self.total_steps else None

    @property
    def ended_at(self) -> float | None:
        """When the job becomes terminal; None if it never does by itself."""
        return self.marks[-1].at if self.marks[-1].status in TERMINAL else None

    @property
    def finished_at(self) -> float | None:
        """`ended_at` as the API tells it: not for jobs that failed in validation."""
        return None if self.marks[-1].status is Status.FAILED and self.started_at is None else self.ended_at

    def status(self, now: float) -> Status:
        """The status that holds at `now`; a job is validating before anything else."""
        return self.marks[max(0, bisect_right(self.marks, now, key=lambda mark: mark.at) - 1)].status

    def step(self, now: float) -> int:
        """Steps done at `now`."""
        return max((run.steps_by(now) for run in self.runs if run.start <= now), default=0)


def lay_out(created_at: float, *, durations: Durations, total_steps: int, ending: Ending, fault: Fault | None) -> Plan:
    """The life of a job that nobody touches; any `fault` but a server error is found in validation."""
    marks = (Mark(created_at, Status.VALIDATING),)
    plan = Plan(marks=marks, durations=durations, total_steps=total_steps, ending=ending, fault=fault)
    validated_at = created_at + durations.validation
    if fault is not None and ending is not Ending.SERVER_ERROR:
        return _marked(plan, Mark(validated_at, Status.FAILED))
    plan = _marked(plan, Mark(validated_at, Status.QUEUED))
    return plan if ending is Ending.STUCK_QUEUE else _train(plan, validated_at + durations.queue, done=0)


def cancel(plan: Plan, now: float) -> Plan:
    """Ended by the client at `now`, or as soon after as the provider manages."""
    stopped, takes = _until(plan, now), plan.durations.cancellation
    if takes:
        stopped = _marked(stopped, Mark(now, Status.CANCELLING))
    return _marked(stopped, Mark(now + takes, Status.CANCELLED))


def pause(plan: Plan, now: float) -> Plan:
    """Stopped at `now` until resumed; an unfinished step is lost."""
    return _marked(_until(plan, now), Mark(now, Status.PAUSED))


def resume(plan: Plan, now: float) -> Plan:
    """Queued again at `now`, then on from the last step done."""
    queued = _marked(_until(plan, now), Mark(now, Status.QUEUED))
    return _train(queued, now + plan.durations.queue, done=plan.step(now))


def _train(plan: Plan, start: float, *, done: int) -> Plan:
    run = Run(start, done, max(done, _stop(plan)), plan.durations.step)
    plan = replace(plan, runs=(*plan.runs, run), marks=(*plan.marks, Mark(start, Status.RUNNING)))
    if plan.ending is Ending.SERVER_ERROR:
        return _marked(plan, Mark(run.end + plan.durations.step, Status.FAILED))
    if plan.ending is Ending.SUCCESS:
        return _marked(plan, Mark(run.end + plan.durations.evaluation, Status.SUCCEEDED))
    return plan


def _stop(plan: Plan) -> int:
    """The last step that will be made: a job that fails or stalls does so past the middle."""
    return plan.total_steps if plan.ending is Ending.SUCCESS else (plan.total_steps * 3 + 4) // 5


def _marked(plan: Plan, mark: Mark) -> Plan:
    return replace(plan, marks=(*plan.marks, mark))


def _until(plan: Plan, now: float) -> Plan:
    """What of the plan has happened by `now`."""
    runs = tuple(replace(run, last=run.steps_by(now)) for run in plan.runs if run.start <= now)
    return replace(plan, marks=tuple(mark for mark in plan.marks if mark.at <= now), runs=runs)
