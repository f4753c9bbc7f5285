"""What a list leaves out of an end, as Bedrock's does, is asked for until it is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from pydantic import TypeAdapter

from monitor.domain.decide import Policy, decide, evolve
from monitor.domain.flow import Known, Tracked
from monitor.domain.model import Status
from monitor.providers import BedrockSettings
from monitor.source import Source
from tests.builders import HOUR, NOON, SECOND
from tests.source.servers import asking, serving

ARN = "arn:aws:bedrock:us-east-1:1:model-customization-job/nova/a"
LISTED = {"jobArn": ARN, "creationTime": "2026-11-22T11:00:00Z"}
ENDED = {**LISTED, "status": "Failed", "endTime": "2026-11-22T11:59:00Z"}
DETAILS = {**ENDED, "failureMessage": "The training data is not valid.", "hyperParameters": {"epochCount": "2"}}


@dataclass
class Bedrock:
    """One job: as the list has it, and what is answered where it is asked for alone."""

    listed: dict[str, Any]
    alone: Callable[[], web.Response]
    asked: int = 0

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/model-customization-jobs"):
            return web.json_response({"modelCustomizationJobSummaries": [self.listed] if self.listed else []})
        self.asked += 1
        return self.alone()


def unavailable() -> web.Response:
    return web.json_response({"message": "no"}, status=503)


def missing() -> web.Response:
    return web.json_response({"message": "no"}, status=404)


def told() -> web.Response:
    return web.json_response(DETAILS)


@dataclass
class Watch:
    """Polls and reads, and what is known after that."""

    source: Source
    known: Known = Known(org="research")  # noqa: RUF009 - a value
    at: timedelta = timedelta(0)

    async def poll(self, later: timedelta) -> Tracked | None:
        """The job as it was written last, if anything was."""
        self.at += later
        found = None
        for listing in (True, False):
            now = NOON + self.at
            seen = await (
                self.source.observe(self.known, now)
                if listing
                else self.source.tail(self.known, list(self.known.jobs), now)
            )
            change = decide(self.known, seen, Policy())
            self.known = evolve(self.known, change)
            found = next(iter(change.tracked), found)
        return found


def vendor(url: str) -> Any:
    fields = {"name": "research", "provider": "bedrock", "region": "us-east-1", "api_key": "k", "base_url": url}
    return TypeAdapter(BedrockSettings).validate_python(fields).vendor()


@pytest.mark.parametrize("before", [None, {**LISTED, "status": "InProgress"}], ids=["at first sight", "known before"])
@pytest.mark.parametrize("listed_on", [True, False], ids=["on the list", "behind it"])
async def test_how_a_job_ended_is_asked_until_it_is_said(before: dict[str, Any] | None, listed_on: bool) -> None:
    api = Bedrock(before or ENDED, unavailable)
    async with serving(api) as url, asking(url, vendor=vendor(url)) as asked:
        watch = Watch(asked.source)
        if before is not None:
            running = await watch.poll(SECOND)
            assert running is not None
            assert (running.job.status, api.asked) == (Status.RUNNING, 0)
            api.listed = ENDED
        ended = await watch.poll(30 * SECOND)
        assert ended is not None
        assert (ended.job.status, ended.job.error) == (Status.FAILED, None), "the end does not wait for its reason"
        await watch.poll(60 * SECOND)
        assert watch.known.jobs, "it is not settled: nobody has said why it failed"
        api.listed = ENDED if listed_on else {}
        api.alone = told
        found = await watch.poll(60 * SECOND)
        assert found is not None
        assert found.job.error is not None
        assert (found.job.error.message, found.job.tuning.epochs) == (DETAILS["failureMessage"], 2)
        assert (found.seq, found.finalized) == (ended.seq, True), "it is no news"
        asked_so_far = api.asked
        await watch.poll(60 * SECOND)
        assert api.asked == asked_so_far


@pytest.mark.parametrize(
    ("alone", "finalized"),
    [
        pytest.param(unavailable, False, id="not answered"),
        pytest.param(missing, True, id="there is nothing more"),
        pytest.param(lambda: web.json_response({**DETAILS, "status": "Completed"}), False, id="another end"),
    ],
)
async def test_it_is_asked_for_an_hour_at_most(alone: Callable[[], web.Response], finalized: bool) -> None:
    api = Bedrock(ENDED, alone)
    async with serving(api) as url, asking(url, vendor=vendor(url)) as asked:
        watch = Watch(asked.source)
        await watch.poll(SECOND)
        await watch.poll(30 * SECOND)
        assert bool(watch.known.final) is finalized
        await watch.poll(HOUR)
        assert watch.known.final == {ARN: Status.FAILED}
        asked_so_far = api.asked
        await watch.poll(60 * SECOND)
        assert api.asked == asked_so_far
