"""The planned life of a job: computed when it is created, and changed only by cancel, pause and resume.

All times are simulated Unix seconds with fractions. Nothing runs: the state of a job at any time is read off its plan.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from monitor.simulator.draws import Span

FOREVER = float("inf")


class Ending(StrEnum):
    """How a job will end. The values are those of the metadata key `simulate`. After a hiccup it succeeds."""

    SUCCESS = "success"
    SERVER_ERROR = "server_error"
    MODERATION = "moderation"
    VALIDATION = "validation"
    STALL = "stall"
    HICCUP = "hiccup"
    STUCK_QUEUE = "stuck_queue"


class Status(StrEnum):
    """A job's status in OpenAI's spelling; OpenAI itself has no `cancelling`."""

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
    """The spans from which the durations of a job are drawn, in simulated seconds."""

    validation: Span = (15.0, 90.0)
    queue: Span = (20.0, 900.0)
    step: Span = (0.4, 2.5)
    reinforcement_step: Span = (240.0, 900.0)
    silence: Span = (5400.0, 7200.0)
    """The pause without a step in a job with a hiccup."""
    evaluation: Span = (30.0, 120.0)
    """From the last step to the end, for checks of the usage policies."""
    announcement: Span = (5.0, 8.0)
    """From the end to the last event; the other final events are in between."""
    cancellation: Span = (5.0, 40.0)
    """From the request to cancel to the end, except at OpenAI, where it is immediate."""
    request: Span = (0.05, 2.0)
    """Between two answers of a batch."""
    finalizing: Span = (20.0, 120.0)
    """From a batch's last answer to its files."""
    window: Span = (86400.0, 86400.0)
    """The time after which a batch expires."""
    steps: int | None = None
    """The number of steps of every job; None: computed from examples, epochs and batch size."""
    unpriced: float = 0.1
    """The share of Together's jobs that never have a price."""
    reported: float = 1.0
    """Seconds of the core training loop that are reported and billed per second that a step takes."""

    def faster(self, speed: float) -> Pace:
        """The same pace divided by `speed`, for a clock that is not accelerated."""
        figures = {"steps", "unpriced", "reported"}
        spans = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in figures}
        faster: dict[str, Any] = {name: (low / speed, high / speed) for name, (low, high) in spans.items()}
        return replace(self, **faster, reported=self.reported * speed)


@dataclass(frozen=True)
class Mark:
    """The time at which a status begins."""

    at: float
    status: Status


@dataclass(frozen=True)
class Run:
    """An uninterrupted part of a training: steps `first + 1` to `last`, one every `seconds`."""

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
        """The last step that is done at `now`."""
        near = self.first + round((now - self.start) / self.seconds)
        done = near if self.done_at(near) <= now else near - 1
        return max(self.first, min(self.last, done))


@dataclass(frozen=True)
class Fault:
    """Why a job failed: its `error`."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, kw_only=True)
class Durations:
    """The durations of one job, drawn from a Pace."""

    validation: float
    queue: float
    step: float
    evaluation: float
    announcement: float
    cancellation: float = 0.0
    silence: float = 0.0
    unpriced: float = 0.1
    reported: float = 1.0
    """As in Pace."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The times at which statuses begin, in order, and the runs of the training."""

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
        """When the last step is done, if it will be; checks and writing the results follow."""
        run = self.runs[-1] if self.runs else None
        return run.end if run is not None and run.last == self.total_steps else None

    @property
    def ended_at(self) -> float | None:
        """When the job reaches its final status; None if it never does by itself."""
        return self.marks[-1].at if self.marks[-1].status in TERMINAL else None

    @property
    def finished_at(self) -> float | None:
        """`ended_at` as the API reports it: None for jobs that failed validation."""
        return None if self.marks[-1].status is Status.FAILED and self.started_at is None else self.ended_at

    def status(self, now: float) -> Status:
        """The status at `now`. Before the first mark a job is validating."""
        return self.marks[max(0, bisect_right(self.marks, now, key=lambda mark: mark.at) - 1)].status

    def step(self, now: float) -> int:
        """The number of steps done at `now`."""
        return max((run.steps_by(now) for run in self.runs if run.start <= now), default=0)


def build_plan(
    created_at: float, *, durations: Durations, total_steps: int, ending: Ending, fault: Fault | None
) -> Plan:
    """Plan the life of an undisturbed job. Every `fault` but a server error is found in validation."""
    marks = (Mark(created_at, Status.VALIDATING),)
    plan = Plan(marks=marks, durations=durations, total_steps=total_steps, ending=ending, fault=fault)
    validated_at = created_at + durations.validation
    if fault is not None and ending is not Ending.SERVER_ERROR:
        return _marked(plan, Mark(validated_at, Status.FAILED))
    plan = _marked(plan, Mark(validated_at, Status.QUEUED))
    return plan if ending is Ending.STUCK_QUEUE else _train(plan, validated_at + durations.queue, done=0)


def cancel(plan: Plan, now: float) -> Plan:
    """Cancel at `now`; the job ends when the provider's delay is over."""
    stopped, takes = _until(plan, now), plan.durations.cancellation
    if takes:
        stopped = _marked(stopped, Mark(now, Status.CANCELLING))
    return _marked(stopped, Mark(now + takes, Status.CANCELLED))


def pause(plan: Plan, now: float) -> Plan:
    """Pause at `now` until resumed. An unfinished step is lost."""
    return _marked(_until(plan, now), Mark(now, Status.PAUSED))


def resume(plan: Plan, now: float) -> Plan:
    """Queue again at `now`, and later continue after the last step that was done."""
    queued = _marked(_until(plan, now), Mark(now, Status.QUEUED))
    return _train(queued, now + plan.durations.queue, done=plan.step(now))


def _train(plan: Plan, start: float, *, done: int) -> Plan:
    *_, run = runs = _runs(plan, start, done)
    plan = replace(plan, runs=(*plan.runs, *runs), marks=(*plan.marks, Mark(start, Status.RUNNING)))
    if plan.ending is Ending.SERVER_ERROR:
        return _marked(plan, Mark(run.end + plan.durations.step, Status.FAILED))
    if plan.ending in {Ending.SUCCESS, Ending.HICCUP}:
        return _marked(plan, Mark(run.end + plan.durations.evaluation, Status.SUCCEEDED))
    return plan


def _runs(plan: Plan, start: float, done: int) -> tuple[Run, ...]:
    """The runs of the training from `start` on: two, if the hiccup is still to come."""
    step, stop = plan.durations.step, max(done, _stop(plan))
    if plan.ending is not Ending.HICCUP:
        return (Run(start, done, stop, step),)
    if done == stop:
        return (Run(start, done, plan.total_steps, step),)
    before = Run(start, done, stop, step)
    return before, Run(before.end + plan.durations.silence, stop, plan.total_steps, step)


def _stop(plan: Plan) -> int:
    """The last step before the end or a pause. Jobs that fail, stall or have a hiccup reach three fifths."""
    return plan.total_steps if plan.ending is Ending.SUCCESS else (plan.total_steps * 3 + 4) // 5


def _marked(plan: Plan, mark: Mark) -> Plan:
    return replace(plan, marks=(*plan.marks, mark))


def _until(plan: Plan, now: float) -> Plan:
    """The part of the plan that has happened by `now`."""
    runs = tuple(replace(run, last=run.steps_by(now)) for run in plan.runs if run.start <= now)
    return replace(plan, marks=tuple(mark for mark in plan.marks if mark.at <= now), runs=runs)
