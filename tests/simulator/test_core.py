"""The rules of the simulator, without HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import pytest

from monitor.simulator import Pace, SimClock, Simulation, Traffic, organisations, training_file
from monitor.simulator.dataset import Dataset, count_tokens, examine, training_file_size
from monitor.simulator.errors import masked
from monitor.simulator.job import Job, JobSpec, resolve_hyperparameters, slug
from monitor.simulator.models import base_of
from monitor.simulator.openai.jobs import view
from monitor.simulator.openai.models import answer
from monitor.simulator.openai.pages import cut
from monitor.simulator.plan import Ending, Run
from monitor.simulator.server import Bucket
from monitor.simulator.together import job_json
from monitor.simulator.training import events
from tests.simulator.conftest import NOON, HandClock

DAY = 86400.0


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 1), ("abc", 1), ("abcdefgh", 2), ("abcdefghi", 2), ("ü" * 4, 2)], ids=repr
)
def test_four_bytes_are_a_token(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


@pytest.mark.parametrize(("examples", "tokens"), [(10, 20), (34, 100_000), (100, 100_000), (7, 999)])
def test_a_file_is_made_with_exactly_the_tokens_asked_for(examples: int, tokens: int) -> None:
    made = training_file(examples=examples, tokens=tokens)
    found = examine(made.splitlines(keepends=True))
    assert (found.examples, found.tokens, found.problems["chat"]) == (examples, tokens, ())
    assert len(made) == training_file_size(examples=examples, tokens=tokens)


def test_a_file_of_too_few_tokens_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="cannot have fewer than 20"):
        training_file(examples=10, tokens=19)


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        pytest.param(
            b'{"messages": [{"role": "user", "content": [{"type": "text", "text": "12345678"}]}]}', 2, id="parts"
        ),
        pytest.param(
            b'{"messages": [{"role": "assistant", "tool_calls": [{"function": {"a": 1}}]}]}', 2, id="a tool call"
        ),
        pytest.param(b'{"prompt": "12345678", "completion": "1234"}', 3, id="a pair"),
        pytest.param(b'{"messages": [3, {"role": "user", "content": null}]}', 0, id="nothing to count"),
    ],
)
def test_tokens_are_counted_wherever_texts_are(line: bytes, tokens: int) -> None:
    assert examine([line]).tokens == tokens


@pytest.mark.parametrize(
    ("examples", "epochs", "batch"), [(10, 10, 1), (33, 3, 1), (34, 3, 1), (3000, 3, 6), (20_000, 1, 40)]
)
def test_auto_follows_the_size_of_the_file(examples: int, epochs: int, batch: int) -> None:
    settled = resolve_hyperparameters(JobSpec("file-1", "gpt-4o-2024-08-06"), Dataset(examples, examples))
    assert (settled["n_epochs"], settled["batch_size"]) == (epochs, batch)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("gpt-3.5-turbo", "gpt-3.5-turbo-0125"),
        ("gpt-3.5-turbo-0613", "gpt-3.5-turbo-0613"),
        ("gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
        ("ft:gpt-4o-2024-08-06:acme::abc", "gpt-4o-2024-08-06"),
        ("gpt-none", None),
    ],
)
def test_a_name_leads_to_its_base(name: str, base: str | None) -> None:
    found = base_of(name)
    assert (found.id if found else None) == base


def test_a_page_starts_after_its_cursor() -> None:
    def found(**query: str) -> tuple[object, bool]:
        return cut("abcde", query, default=5, name=str)

    assert found(limit="2") == ("ab", True)
    assert found(limit="2", after="b") == ("cd", True)
    assert found(limit="2", after="d") == ("e", False)
    assert found() == ("abcde", False)


def test_a_bucket_refills_with_time_but_never_above_its_size() -> None:
    bucket = Bucket(rate=2, left=2, at=0)
    assert [bucket.take(0), bucket.take(0), bucket.take(0)] == [0, 0, 0.5]
    assert [bucket.take(100), bucket.take(100), bucket.take(100)] == [0, 0, 0.5]


def test_masked_keys_show_their_ends_only() -> None:
    assert masked("sk-proj-abcdefgh") == "sk-proj-****efgh"
    assert masked("sk-short") == "********"


def test_names_are_made_fit_for_models() -> None:
    assert slug("My Org, Inc.") == "my-org-inc."


def test_a_model_misspells_when_configured_to() -> None:
    assert "proccess" in answer([{"role": "system", "content": "You occasionally misspell words"}])
    assert "proccess" not in answer([{"role": "user", "content": "hi"}])


def test_the_clock_starts_at_its_epoch_and_runs_ahead() -> None:
    clock = SimClock(speed=1_000_000, epoch=NOON)
    assert NOON <= clock() < clock()


def test_keys_differ_unless_a_seed_is_given() -> None:
    assert organisations(3, seed=1) == organisations(3, seed=1)
    assert organisations(3) != organisations(3)
    keys = [project.key for org in organisations(10, projects=2) for project in org.projects]
    assert len(set(keys)) == 20
    assert all(key.startswith("sk-") for key in keys)
    assert keys[0] not in repr(organisations(1))


def generated(traffic: Traffic, clock: HandClock, orgs: int = 1) -> Simulation:
    return Simulation(organisations(orgs, seed=5), clock=clock, traffic=traffic)


def statuses(jobs: Iterable[Job], now: float) -> Counter[str]:
    return Counter(job.plan.status(now).value for job in jobs)


def test_history_was_over_before_the_start_and_mostly_went_well(clock: HandClock) -> None:
    simulation = generated(Traffic(history=200), clock)
    jobs = simulation.jobs(simulation.orgs[0])
    found = statuses(jobs, clock.now)
    assert set(found) == {"succeeded", "failed", "cancelled"}
    assert 120 <= found["succeeded"] <= 160
    assert all(before.created_at >= after.created_at for before, after in pairwise(jobs))
    assert {job.spec.method for job in jobs} == {"supervised", "dpo", "reinforcement"}
    assert min(job.created_at for job in jobs) > clock.now - 23 * DAY


def test_jobs_under_way_are_running_at_the_start(clock: HandClock) -> None:
    simulation = generated(Traffic(under_way=5), clock)
    assert statuses(simulation.jobs(simulation.orgs[0]), clock.now) == {"running": 5}


def test_traffic_brings_jobs_whether_or_not_anybody_looks(clock: HandClock) -> None:
    traffic = Traffic(gap=(600, 1200))
    patient, curious = generated(traffic, clock), generated(traffic, clock)
    for _ in range(48):
        clock.move(1800)
        curious.jobs(curious.orgs[0])
    seen, late = (each.jobs(each.orgs[0]) for each in (curious, patient))
    assert [view(job, clock.now) for job in seen] == [view(job, clock.now) for job in late]
    assert 72 <= len(seen) <= 144


def test_a_faster_pace_lives_the_same_life_in_less_time() -> None:
    faster = Pace(steps=7).faster(10)
    assert (faster.validation, faster.steps) == ((1.5, 9.0), 7)


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.7, 1.1])
def test_a_step_is_done_when_it_is_reported(seconds: float) -> None:
    run = Run(NOON, 0, 1000, seconds)
    assert [run.steps_by(run.done_at(step)) for step in range(1001)] == list(range(1001))


def test_one_job_of_the_first_organisation_pauses_and_succeeds_all_the_same(clock: HandClock) -> None:
    simulation = generated(Traffic(gap=(600, 600)), clock, orgs=2)
    clock.move(30 * DAY)
    first, second = (simulation.jobs(org) for org in simulation.orgs)
    paused = [job for job in first if job.plan.ending is Ending.HICCUP]
    assert statuses(paused, clock.now) == {"succeeded": 1}
    assert [job for job in second if job.plan.ending is Ending.HICCUP] == []


def test_no_event_of_generated_jobs_lies_in_the_future_or_has_a_twin(clock: HandClock) -> None:
    simulation = generated(Traffic(history=20, under_way=3, gap=(600, 900)), clock)
    clock.move(3600)
    for job in simulation.jobs(simulation.orgs[0]):
        told = events(job, clock.now)
        assert told[0].message == f"Created fine-tuning job: {job.id}"
        assert all(job.created_at <= event.at <= clock.now for event in told)
        assert len({event.key for event in told}) == len(told)


def test_a_thousand_jobs_are_planned_quickly(clock: HandClock) -> None:
    simulation = generated(Traffic(history=1000), clock)
    shown = [view(job, clock.now) for job in simulation.jobs(simulation.orgs[0])]
    assert len(shown) == 1000


def test_a_pace_without_steps_takes_them_from_the_file(clock: HandClock) -> None:
    simulation = Simulation(organisations(1, seed=2), clock=clock, pace=Pace(), traffic=Traffic(history=30))
    for job in simulation.jobs(simulation.orgs[0]):
        batch = job.resolved["batch_size"]
        assert job.plan.total_steps == job.epochs * -(-job.dataset.examples // batch)


def test_a_job_that_has_a_hiccup_stands_still_and_then_goes_on_also_through_a_pause() -> None:
    clock = HandClock()
    pace = Pace(validation=(5, 5), queue=(5, 5), step=(1, 1), evaluation=(5, 5), silence=(100, 100), steps=50)
    simulation = Simulation(organisations(1), clock=clock, pace=pace)
    (org,) = simulation.orgs
    job = simulation.start_job(org, ending=Ending.HICCUP)
    assert [job.plan.step(NOON + 10 + after) for after in (30, 60, 129, 131, 150)] == [30, 30, 30, 31, 50]
    assert job.truth.finished_at == NOON + 10 + 50 + 100 + 5
    clock.move(10 + 30 + 50)
    simulation.pause(org, job.id)
    resumed = simulation.resume(org, job.id)
    assert [run.last for run in resumed.plan.runs] == [30, 50], "what was silent has had its silence"


def test_the_past_may_be_of_chosen_methods_and_every_job_priced() -> None:
    traffic = Traffic(history=60, methods=frozenset({"supervised", "dpo"}))
    pace = Pace(unpriced=0.0).faster(2.0)
    simulation = Simulation(
        organisations(1, providers=("openai", "together")), clock=HandClock(), pace=pace, traffic=traffic
    )
    openai, together = simulation.orgs
    assert {job.spec.method for job in simulation.jobs(openai)} == {"supervised", "dpo"}
    begun = [job for job in simulation.jobs(together) if job.plan.started_at is not None]
    assert all("total_price" in job_json(job, NOON, whole=False) for job in begun)
