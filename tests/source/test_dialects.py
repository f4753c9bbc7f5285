"""Every vendor's dialect over real HTTP, against its simulator: what is seen is what is the case there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from monitor.app.build import source
from monitor.clock import SystemClock
from monitor.config import settings_from
from monitor.domain.decide import Policy, decide, evolve
from monitor.domain.flow import Known, Observation
from monitor.domain.model import FailureClass, Job, Method, Status
from monitor.metrics.process import ProcessMetrics
from monitor.secret import Redactor
from monitor.simulator import Job as Simulated
from monitor.simulator import Org, Simulation, Traffic, configuration, organisations, serve
from monitor.source import Source, transport
from tests.builders import job as job_of
from tests.builders import tracked
from tests.simulator.conftest import STEADY, HandClock

VENDORS = ("openai", "azure", "together", "fireworks", "vertex", "bedrock")
EVENTS = ("openai", "azure", "together")
MINUTE = timedelta(minutes=1)


@dataclass
class Clock(SystemClock):
    """The simulation's time, for what is signed."""

    of: HandClock = field(default_factory=HandClock)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.of.now, UTC)


@dataclass
class Watched:
    """Two organisations at a simulated vendor: one for each way to prove who asks, where there are two."""

    simulation: Simulation
    sources: list[Source]
    clock: HandClock

    async def polled(self, number: int = 0, known: Known | None = None) -> Observation:
        org = self.simulation.orgs[number]
        now = datetime.fromtimestamp(self.clock.now, UTC)
        return await self.sources[number].observe(known or Known(org=org.name), now)

    async def read(self, number: int = 0) -> Observation:
        """A poll, and then the event streams of what it has found."""
        seen = await self.polled(number)
        nothing = Known(org=seen.org)
        known = evolve(nothing, decide(nothing, seen, Policy()))
        return await self.sources[number].tail(known, list(known.jobs), seen.at)

    def really(self, number: int = 0) -> dict[str, Simulated]:
        return {job.id: job for job in self.simulation.jobs(self.simulation.orgs[number])}


@asynccontextmanager
async def watched(provider: str, folder: Path, *, history: int = 40, **over: Any) -> AsyncIterator[Watched]:
    hand = HandClock(datetime.now(UTC).timestamp())
    traffic = Traffic(history=history)
    orgs = organisations(2, seed=3, providers=(provider,))
    simulation = Simulation(orgs, clock=hand, pace=STEADY, traffic=traffic, seed=3)
    async with serve(simulation) as base_url, transport() as way:
        entries = [{**configuration(org, base_url, folder), **over} for org in orgs]
        settings = settings_from({"organizations": entries, "poll": {"max_requests_per_second": 1000}})
        asked = [
            source(
                settings,
                org,
                transport=way,
                clock=Clock(of=hand),
                redactor=Redactor(),
                process=ProcessMetrics(revision="x"),
            )
            for org in settings.organizations
        ]
        yield Watched(simulation, asked, hand)


def id_of(provider: str, job: Job) -> str:
    """The simulation's name of a job."""
    return job.provider_id.rpartition("/")[2] if provider == "bedrock" else job.provider_id


def really(provider: str, job: Simulated, now: float) -> set[Status]:
    """What may be said of a job that is in this state: vendors have fewer words, or more."""
    status = Status(job.plan.status(now).value)
    less = {
        "azure": {Status.VALIDATING: {Status.QUEUED}, Status.PAUSED: {Status.RUNNING}},
        "together": {Status.VALIDATING: {Status.QUEUED}},
        "vertex": {Status.VALIDATING: {Status.QUEUED}},
    }
    return {status} | less.get(provider, {}).get(status, set())


@pytest.mark.parametrize("provider", VENDORS)
async def test_all_jobs_are_seen_as_they_are(provider: str, tmp_path: Path) -> None:
    async with watched(provider, tmp_path) as of:
        for number in (0, 1):
            seen = await of.polled(number)
            assert (seen.listed, seen.complete, seen.trouble) == (True, True, None)
            truth, jobs = of.really(number), {id_of(provider, job): job for job in seen.jobs}
            recent = {id_ for id_, job in truth.items() if of.clock.now - job.created_at < 29 * 86_400}
            assert recent <= jobs.keys() <= truth.keys()
            for id_, job in jobs.items():
                real = truth[id_]
                assert job.status in really(provider, real, of.clock.now), id_
                assert (job.org, job.provider) == (of.simulation.orgs[number].name, provider)
                assert job.created_at is not None
                assert abs(job.created_at.timestamp() - real.created_at) <= 1
                assert (job.finished_at is None) or job.status.final
                assert job.model != "unknown"


@pytest.mark.parametrize("provider", VENDORS)
async def test_a_life_is_followed_to_its_end(provider: str, tmp_path: Path) -> None:
    async with watched(provider, tmp_path, history=0) as of:
        org: Org = of.simulation.orgs[0]
        job_id = of.simulation.start_job(org, suffix="tone").id
        course: list[Status] = []
        job: Job | None = None
        for _ in range(110):
            of.clock.move(1)
            seen = await of.polled()
            [job] = [each for each in seen.jobs if id_of(provider, each) == job_id]
            if not course or course[-1] is not job.status:
                course.append(job.status)
        assert job is not None
        order = [Status.VALIDATING, Status.QUEUED, Status.RUNNING, Status.SUCCEEDED]
        if provider == "vertex":  # waits for its turn before its dataset is processed, too
            order.insert(0, Status.QUEUED)
        assert course == [status for status in order if status in course]
        assert {Status.QUEUED, Status.RUNNING, Status.SUCCEEDED} <= set(course)
        truth = of.simulation.job(org, job_id)
        assert job.tuning.fine_tuned_model
        assert job.tuning.epochs in (None, truth.epochs)
        if job.tuning.trained_tokens is not None:
            assert job.tuning.trained_tokens == truth.trained_tokens
        assert job.finished_at is not None


@pytest.mark.parametrize("provider", VENDORS)
async def test_wrong_credentials_are_refused_ones(provider: str, tmp_path: Path) -> None:
    async with watched(provider, tmp_path, history=0) as of:
        for each in of.sources:
            names = each.client.auth.secrets
            secret = each.client.secrets[names[-1]]
            secret._value, secret._path = "x" * 20, None
            with pytest.raises(Exception, match=r"refused|may not|access token") as caught:
                await each.check()
            assert type(caught.value).__name__ == "AuthFailed"


@pytest.mark.parametrize("provider", EVENTS)
async def test_events_are_read_once_and_then_known(provider: str, tmp_path: Path) -> None:
    async with watched(provider, tmp_path, history=0) as of:
        of.simulation.start_job(of.simulation.orgs[0], suffix="tone")
        of.clock.move(40)
        [read] = (await of.read()).reads
        assert read.whole
        assert len({event.id for event in read.events}) == len(read.events) > 2
        times = [event.at for event in read.events if event.at is not None]
        assert times == sorted(times, reverse=True), "newest first, whatever the vendor does"
        assert any(event.kind.value == "started" for event in read.events)


@pytest.mark.parametrize("provider", [name for name in VENDORS if name not in EVENTS])
async def test_where_a_vendor_has_no_events_none_are_asked_for(provider: str, tmp_path: Path) -> None:
    async with watched(provider, tmp_path, history=0) as of:
        of.simulation.start_job(of.simulation.orgs[0], suffix="tone")
        of.clock.move(40)
        seen = await of.read()
        assert [(read.events, read.whole) for read in seen.reads] == [((), True)]
        assert seen.trouble is None


async def test_togethers_price_is_that_of_the_job(tmp_path: Path) -> None:
    async with watched("together", tmp_path) as of:
        jobs = {job.id: job for job in (await of.polled()).jobs}
        priced = [job for job in jobs.values() if job.status is Status.SUCCEEDED and job.reported_usd]
        assert priced
        for job in priced:
            assert job.tuning.trained_tokens is not None
            assert job.reported_usd is not None
            assert job.reported_usd / job.tuning.trained_tokens in {Decimal("480e-9"), Decimal("1200e-9")}


async def test_that_together_cancels_jobs_is_a_matter_of_the_balance(tmp_path: Path) -> None:
    async with watched("together", tmp_path) as of:
        cancelled = [job for job in (await of.polled()).jobs if job.status is Status.CANCELLED]
        assert cancelled
        assert {job.error.failure for job in cancelled if job.error is not None} == {FailureClass.QUOTA}


async def test_fireworks_estimate_is_money_and_the_users_own_key_is_nowhere(tmp_path: Path) -> None:
    async with watched("fireworks", tmp_path) as of:
        seen = await of.polled()
        supervised = [job for job in seen.jobs if job.method.value == "supervised" and job.status is Status.SUCCEEDED]
        assert supervised
        assert all(job.reported_usd is not None and job.reported_usd > 0 for job in supervised)
        assert len({job.method for job in seen.jobs}) > 1
        assert "wandb" not in repr(seen)


async def test_an_end_at_bedrock_has_its_reason_which_the_list_leaves_out(tmp_path: Path) -> None:
    async with watched("bedrock", tmp_path) as of:
        seen = await of.polled()
        failed = [job for job in seen.jobs if job.status is Status.FAILED]
        assert failed
        assert all(job.error is not None and job.error.message for job in failed)
        active = [job for job in seen.jobs if not job.status.final]
        assert all(job.error is None and job.finished_at is None for job in active)


async def test_a_location_of_vertex_that_is_none_hides_no_other(tmp_path: Path) -> None:
    async with watched("vertex", tmp_path) as of:
        known = len((await of.polled()).jobs)
    async with watched("vertex", tmp_path, locations=["us-central1", "europe-west4", "mars-north1"]) as of:
        seen = await of.polled()
        assert len(seen.jobs) == known
        assert seen.trouble is None, "a location without jobs says {}"


async def test_two_jobs_of_fireworks_with_one_id_are_two_jobs(tmp_path: Path) -> None:
    async with watched("fireworks", tmp_path, history=0) as of:
        [org, _], now = of.simulation.orgs, Known(org=of.simulation.orgs[0].name)
        for method in ("supervised", "dpo"):
            of.simulation.start_job(org, name="same", method=method)
        for number in range(201):  # two pages, of which the second one is only read at first
            of.simulation.start_job(org, name=f"n{number}", method="dpo")
        of.clock.move(30)
        first = await of.polled()
        assert {"same", "dpo:same", "dpo:n0", "dpo:n200"} <= set(first.ids)
        known = evolve(now, decide(now, first, Policy()))
        of.simulation.cancel(org, "same", "dpo")
        of.clock.move(20)
        second = await of.polled(known=known)
        courses = {job.id: (job.method, job.status) for job in second.jobs}
        assert courses["dpo:same"] == (Method.DPO, Status.CANCELLED), "it was requested by its own id from its own list"
        assert courses["same"] == (Method.SUPERVISED, Status.RUNNING)
        assert not second.missing


async def test_jobs_that_were_stored_when_ids_did_not_name_their_list_keep_their_ids(tmp_path: Path) -> None:
    async with watched("fireworks", tmp_path, history=0) as of:
        [org, _] = of.simulation.orgs
        of.simulation.start_job(org, name="old", method="reinforcement")
        of.clock.move(60 * 60 * 3)
        for method in ("supervised", "dpo", "reinforcement"):
            of.simulation.start_job(org, name="same", method=method)
        of.clock.move(30)
        stored = tracked(
            job_of("same", Status.QUEUED, org=org.name, provider="fireworks", method=Method.DPO),
        )
        left = tracked(job_of("left", org=org.name, provider="fireworks", method=Method.DPO))
        known = Known(
            org=org.name,
            version=1,
            jobs={"same": stored, "left": left},
            final={"old": Status.SUCCEEDED},
            lists={"same": "dpo", "old": "reinforcement", "left": "dpo"},
        )
        seen = await of.polled(known=known)
        assert {job.id: job.method.value for job in seen.jobs} == {
            "same": "dpo", "supervised:same": "supervised", "reinforcement:same": "reinforcement",
        }  # fmt: skip
        assert seen.missing == {"left"}
        assert evolve(known, decide(known, seen, Policy())).lists == known.lists
