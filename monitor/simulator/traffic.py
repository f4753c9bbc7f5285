"""Generates jobs and batches: an organisation's past ones, active ones, and those that it will create."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from monitor.simulator.batch import Batch, plan_batch, random_batch
from monitor.simulator.dataset import Dataset
from monitor.simulator.draws import Span, derived, dice, within
from monitor.simulator.job import AUTO, Files, Job, JobSpec, plan_job
from monitor.simulator.orgs import Caller, Org, batch_id, job_id
from monitor.simulator.plan import Ending, Pace, cancel

_WEEK = 7 * 86400.0
_OPENAI = (
    ("gpt-4o-mini-2024-07-18", "supervised", 4),
    ("gpt-4.1-mini-2025-04-14", "supervised", 3),
    ("gpt-4o-2024-08-06", "supervised", 2),
    ("gpt-3.5-turbo-0125", "supervised", 1),
    ("gpt-4.1-2025-04-14", "dpo", 1),
    ("gpt-4o-mini-2024-07-18", "dpo", 1),
    ("o4-mini-2025-04-16", "reinforcement", 1),
)
MODELS = {
    "openai": _OPENAI,
    "azure": _OPENAI,
    "together": (
        ("meta-llama/Meta-Llama-3.1-8B-Instruct-Reference", "supervised", 3),
        ("Qwen/Qwen3-32B", "supervised", 2),
        ("Qwen/Qwen3-32B", "dpo", 1),
    ),
    "fireworks": (
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", "supervised", 3),
        ("accounts/fireworks/models/qwen3-30b-a3b", "dpo", 1),
        ("accounts/fireworks/models/qwen3-30b-a3b", "reinforcement", 1),
    ),
    "vertex": (
        ("gemini-2.5-flash", "supervised", 3),
        ("gemini-2.5-flash-lite", "supervised", 2),
        ("gemini-2.5-flash", "dpo", 1),
    ),
    "bedrock": (
        ("amazon.nova-lite-v1:0:300k", "supervised", 3),
        ("anthropic.claude-3-haiku-20240307-v1:0:200k", "supervised", 1),
        ("amazon.nova-lite-v1:0:300k", "reinforcement", 1),
    ),
}
"""Base model, method and weight in the random choice, by provider."""
BATCH_MODELS = {
    "openai": ("gpt-4o-mini-2024-07-18", "gpt-4.1-2025-04-14"),
    "azure": ("gpt-4o-mini-2024-07-18", "gpt-4.1-2025-04-14"),
    "bedrock": ("amazon.nova-lite-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"),
}
"""The models of generated batches, for the providers that have batches."""
_SUFFIXES = ("triage", "summaries", "tone", "router", "extract-v2", "intents", "", "")
_TEAMS = ("core", "platform", "labs")
_GRADER = {
    "type": "string_check",
    "name": "exact answer",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
_ENDINGS = ((0.70, Ending.SUCCESS), (0.78, Ending.SERVER_ERROR), (0.84, Ending.MODERATION), (0.90, Ending.VALIDATION))
_STALLING = 1
"""The index of the job that stalls for a while, among those that the first organisation will create."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """How many jobs and batches are generated per organisation; by default none."""

    history: int = 0
    """Jobs that ended before the simulation started."""
    weeks: float = 3.0
    """The maximum age of those in weeks."""
    methods: frozenset[str] | None = None
    """The training methods of those; None for all of the provider's."""
    under_way: int = 0
    """Jobs that are running when the simulation starts."""
    gap: Span | None = None
    """Simulated seconds between new jobs; None: no new jobs."""
    batches: int = 0
    """Batches that ended before the simulation started."""
    batch_gap: Span | None = None
    """Simulated seconds between new batches; None: no new batches."""
    in_use: int = 0
    """How many of the models of past jobs are in constant use, from the moment they exist."""


@dataclass(frozen=True)
class Scene:
    """The context of generated jobs: an organisation, the seed, the pace, and the start of the simulation."""

    org: Org
    seed: object
    pace: Pace
    start: float
    first: bool = False
    """Whether this organisation has the job that stalls."""


def past(scene: Scene, traffic: Traffic) -> list[Job]:
    """The jobs that were created before the start, oldest first."""
    return sorted(
        [_ended(scene, traffic, number) for number in range(traffic.history)]
        + [_under_way(scene, number) for number in range(traffic.under_way)],
        key=lambda job: job.created_at,
    )


def coming(scene: Scene, traffic: Traffic) -> Iterator[Job]:
    """The jobs that are created after the start; endless unless `gap` is None."""
    at, number = scene.start, 0
    while traffic.gap is not None:
        rng = dice(scene.seed, scene.org.id, "coming", number)
        at += within(rng, traffic.gap)
        yield _job(scene, rng, at, Ending.HICCUP if scene.first and number == _STALLING else None)
        number += 1


def past_batches(scene: Scene, traffic: Traffic) -> list[Batch]:
    """The batches that ended before the start, oldest first; none at providers without batches."""
    if scene.org.provider not in BATCH_MODELS:
        return []
    made = []
    for number in range(traffic.batches):
        rng = dice(scene.seed, scene.org.id, "batch", number)
        age = within(rng, (3600.0, traffic.weeks * _WEEK))
        batch = _batch(scene, rng, 0.0)
        made.append(batch.moved(scene.start - age - batch.ended_at))
    return sorted(made, key=lambda batch: batch.created_at)


def coming_batches(scene: Scene, traffic: Traffic) -> Iterator[Batch]:
    """The batches that are created after the start; endless unless `batch_gap` is None."""
    at, number = scene.start, 0
    while traffic.batch_gap is not None and scene.org.provider in BATCH_MODELS:
        rng = dice(scene.seed, scene.org.id, "coming batch", number)
        at += within(rng, traffic.batch_gap)
        yield _batch(scene, rng, at)
        number += 1


def _batch(scene: Scene, rng: Random, at: float) -> Batch:
    owner = Caller(scene.org, rng.choice(scene.org.projects))
    name = batch_id(rng, scene.org.provider)
    return plan_batch(name, owner, random_batch(rng, BATCH_MODELS[scene.org.provider]), pace=scene.pace, at=at)


def _ended(scene: Scene, traffic: Traffic, number: int) -> Job:
    """A job that ended in the past. It is planned twice: first to find its duration, then with the right start."""
    rehearsal = _job(scene, dice(scene.seed, scene.org.id, "past", number), 0.0, None, traffic.methods)
    age = within(dice(scene.seed, scene.org.id, "age", number), (3600.0, traffic.weeks * _WEEK))
    created_at = scene.start - age - rehearsal.plan.marks[-1].at
    return _job(scene, dice(scene.seed, scene.org.id, "past", number), created_at, None, traffic.methods)


def _under_way(scene: Scene, number: int) -> Job:
    """A running job that has at least half of its training ahead."""
    rehearsal = _job(scene, dice(scene.seed, scene.org.id, "under way", number), 0.0, Ending.SUCCESS)
    run = rehearsal.plan.runs[0]
    done = within(dice(scene.seed, scene.org.id, "done", number), (0.1, 0.5))
    created_at = scene.start - run.start - done * (run.end - run.start)
    return _job(scene, dice(scene.seed, scene.org.id, "under way", number), created_at, Ending.SUCCESS)


def _job(scene: Scene, rng: Random, at: float, ending: Ending | None, methods: frozenset[str] | None = None) -> Job:
    name = job_id(rng, scene.org.provider)
    caller = Caller(scene.org, rng.choice(scene.org.projects))
    examples = int(within(rng, (50, 400)))
    files = Files(Dataset(examples, examples * int(within(rng, (150, 600)))))
    validation = rng.random() < 0.5
    drawn = rng.random()
    known = next((each for limit, each in _ENDINGS if drawn < limit), None)
    choices = [one for one in MODELS[scene.org.provider] if methods is None or one[1] in methods]
    spec = replace(_spec(rng, name, choices, validation=validation), ending=ending or known or Ending.SUCCESS)
    job = plan_job(name, caller, spec, files=files, pace=scene.pace, at=at)
    if ending is not None or known is not None:
        return job
    life = job.plan.marks[-1].at - at
    return replace(job, plan=cancel(job.plan, at + life * within(rng, (0.2, 0.9))))


def _spec(rng: Random, name: str, choices: Sequence[tuple[str, str, int]], *, validation: bool) -> JobSpec:
    model, method, _ = rng.choices(choices, weights=[weight for _, _, weight in choices])[0]
    reinforcement = method == "reinforcement"
    return JobSpec(
        model=model,
        training_file=f"file-{derived(22, name, 'training')}",
        validation_file=f"file-{derived(22, name, 'validation')}" if validation else None,
        method=method,
        hyperparameters=dict.fromkeys(AUTO[method], "auto") | ({"reasoning_effort": "medium"} if reinforcement else {}),
        method_extras={"grader": _GRADER} if reinforcement else {},
        suffix=rng.choice(_SUFFIXES) or None,
        metadata={"team": rng.choice(_TEAMS), "run": str(rng.randrange(1, 400))} if rng.random() < 0.6 else None,
    )
