"""A simulated batch of requests, whose whole life is planned when it is created."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from monitor.simulator.draws import derived, dice, noise, within
from monitor.simulator.orgs import Caller
from monitor.simulator.plan import Ending, Pace

_PROMPT, _ANSWER = 480, 120
"""Tokens of a request and of its answer."""


class BatchStatus(StrEnum):
    """A batch's status in OpenAI's spelling."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


BATCH_ENDS = frozenset({BatchStatus.COMPLETED, BatchStatus.FAILED, BatchStatus.EXPIRED, BatchStatus.CANCELLED})
_SLOW = 4.0
"""An expiring batch would need this multiple of its window."""


@dataclass(frozen=True, eq=False)
class Batch:
    """A planned batch.

    `marks` are the times at which statuses begin; requests are answered one by one while in progress.
    """

    id: str
    owner: Caller
    model: str
    endpoint: str
    input_file: str
    total: int
    metadata: Mapping[str, str] | None
    marks: tuple[tuple[float, BatchStatus], ...]
    expires_at: float
    per_request: float
    """Seconds between two answers."""

    def moved(self, seconds: float) -> Batch:
        """The same batch, shifted in time by `seconds`."""
        marks = tuple((at + seconds, status) for at, status in self.marks)
        return replace(self, marks=marks, expires_at=self.expires_at + seconds)

    @property
    def created_at(self) -> float:
        """When it is created."""
        return self.marks[0][0]

    @property
    def ended_at(self) -> float:
        """When it reaches its final status."""
        return self.marks[-1][0]

    @property
    def output_file(self) -> str:
        """The id of its output file."""
        return f"file-{derived(22, self.id, 'output')}"

    @property
    def error_file(self) -> str:
        """The id of its error file."""
        return f"file-{derived(22, self.id, 'errors')}"

    def status(self, now: float) -> BatchStatus:
        """The status at `now`."""
        return self.marks[max(0, bisect_right(self.marks, now, key=lambda mark: mark[0]) - 1)][1]

    def reached(self, status: BatchStatus, now: float) -> float | None:
        """When `status` began; None if it has not by `now`."""
        return next((at for at, each in self.marks if each is status and at <= now), None)

    def counts(self, now: float) -> tuple[int, int]:
        """The numbers of answered and of failed requests by `now`."""
        began = self.reached(BatchStatus.IN_PROGRESS, now)
        if began is None:
            return 0, 0
        until = next((at for at, status in self.marks if at > began and status is not BatchStatus.IN_PROGRESS), now)
        done = min(self.total, int((min(now, until) - began) / self.per_request + 1e-6))
        failed = sum(self._refused(number) for number in range(done))
        return done - failed, failed

    def tokens(self, now: float) -> tuple[int, int]:
        """The tokens read and written by `now`."""
        completed, _ = self.counts(now)
        return completed * _PROMPT, completed * _ANSWER

    def lines(self, *, refused: bool) -> bytes:
        """The content of the output file, or of the error file."""
        done = sum(self.counts(self.ended_at))
        numbers = [number for number in range(done) if self._refused(number) is refused]
        return b"".join(self._line(number, refused=refused) for number in numbers)

    def _refused(self, number: int) -> bool:
        return noise(self.id, "request", number) < 0.02

    def _line(self, number: int, *, refused: bool) -> bytes:
        error = {"message": "The server had an error while processing your request.", "type": "server_error"}
        usage = {"prompt_tokens": _PROMPT, "completion_tokens": _ANSWER, "total_tokens": _PROMPT + _ANSWER}
        response = {
            "status_code": 500 if refused else 200,
            "request_id": derived(32, self.id, number),
            "body": {"error": error} if refused else {"object": "chat.completion", "model": self.model, "usage": usage},
        }
        whole = {"id": f"batch_req_{derived(32, self.id, 'request', number)}", "custom_id": f"request-{number + 1}"}
        return json.dumps({**whole, "response": response, "error": None}).encode() + b"\n"


@dataclass(frozen=True, kw_only=True)
class BatchSpec:
    """The parameters of a batch."""

    input_file: str
    total: int
    model: str
    endpoint: str = "/v1/chat/completions"
    metadata: Mapping[str, str] | None = None
    ending: Ending = Ending.SUCCESS


def plan_batch(batch_id: str, owner: Caller, spec: BatchSpec, *, pace: Pace, at: float) -> Batch:
    """Plan a batch that is created at `at`: it fails validation, is answered completely, or expires."""
    rng = dice(batch_id, "durations")
    window = within(rng, pace.window)
    validated = at + within(rng, pace.validation)
    each, finalizing = within(rng, pace.request), within(rng, pace.finalizing)
    if spec.ending is Ending.STALL:
        each = window * _SLOW / spec.total
    marks = [(at, BatchStatus.VALIDATING), *_marks(spec, validated, at + window, each=each, finalizing=finalizing)]
    return Batch(
        id=batch_id,
        owner=owner,
        model=spec.model,
        endpoint=spec.endpoint,
        input_file=spec.input_file,
        total=spec.total,
        metadata=spec.metadata,
        marks=tuple(marks),
        expires_at=at + window,
        per_request=each,
    )


def _marks(
    spec: BatchSpec, validated: float, expires: float, *, each: float, finalizing: float
) -> list[tuple[float, BatchStatus]]:
    if spec.ending in (Ending.VALIDATION, Ending.MODERATION):
        return [(validated, BatchStatus.FAILED)]
    worked = validated + each * spec.total
    if worked + finalizing > expires:
        return [(validated, BatchStatus.IN_PROGRESS), (expires, BatchStatus.EXPIRED)]
    return [
        (validated, BatchStatus.IN_PROGRESS),
        (worked, BatchStatus.FINALIZING),
        (worked + finalizing, BatchStatus.COMPLETED),
    ]


def cancel_batch(batch: Batch, now: float, takes: float) -> Batch:
    """Cancel the batch at `now`. Requests that were answered by then stay answered."""
    kept = tuple(mark for mark in batch.marks if mark[0] <= now)
    return replace(batch, marks=(*kept, (now, BatchStatus.CANCELLING), (now + takes, BatchStatus.CANCELLED)))


def random_batch(rng: Random, models: tuple[str, ...]) -> BatchSpec:
    """The parameters of a generated batch: most succeed, some fail validation, some expire."""
    endings = (Ending.SUCCESS, Ending.VALIDATION, Ending.STALL)
    [ending] = rng.choices(endings, weights=(8, 1, 1))
    team = {"team": rng.choice(("core", "platform", "labs"))}
    return BatchSpec(
        input_file=f"file-{derived(22, rng.random())}",
        total=rng.randrange(40, 400),
        model=rng.choice(models),
        metadata=team if rng.random() < 0.6 else None,
        ending=ending,
    )
