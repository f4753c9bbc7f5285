"""The models' watcher: real source, store and API; only the time is ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from monitor.domain.costs import TunedModel
from monitor.domain.pricing import ModelEnd, Prices
from monitor.domain.routing import OrgRef, Rule
from monitor.providers.base import AuthFailed, Malformed, NotFound, ProviderUnavailable, SourceError
from monitor.secret import Secret
from monitor.simulator import Org, Simulation, organisations, serve
from monitor.source import transport
from monitor.store import Stores, opened
from monitor.watchers.models import ModelWatcher
from tests.builders import DAY, on
from tests.fakes import another_replica
from tests.simulator.conftest import NOON, STEADY, Client, HandClock
from tests.source.servers import source as asking
from tests.store.samples import change, ended
from tests.watchers.test_jobs import Enough, Time

MINI = "gpt-4o-mini-2024-07-18"
NANO = "gpt-4.1-nano-2025-04-14"
JANUARY = date(2027, 1, 14)
MIDWINTER = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)  # 52 days before that
HOUR = 3600.0


@dataclass
class Watched:
    """Three organisations, their watchers, and the API between."""

    watchers: list[ModelWatcher]
    clients: list[Client]
    store: Stores
    time: Time
    answers: dict[str, Callable[[], web.Response]]
    """Instead of the simulator's list of models: `answer()`, or nothing."""
    asked: list[str]

    @property
    def one(self) -> ModelWatcher:
        return self.watchers[0]

    def at(self, when: datetime) -> None:
        self.time.move(when.timestamp() - self.time.hand.now)

    async def tune(self, client: Client, count: int, base: str = MINI) -> None:
        """Fine-tunes that have succeeded."""
        for number in range(count):
            await client.create(model=base, suffix=f"bot-{number}")
        self.time.move(100)

    async def messages(self) -> list[dict[str, Any]]:
        """What is to be told; it counts as told then."""
        claimed = await self.store.outbox.claim("ops", owner="me", limit=100, lease=timedelta(minutes=1))
        for one in claimed:
            await self.store.outbox.delivered(one)
        return [{"title": one.delivery.message.title, **json.loads(one.delivery.message.data)} for one in claimed]

    async def inventory(self) -> dict[str, date | None]:
        org = self.one.org.org
        return {model.id: model.shutdown for model in await self.store.costs.tuned_models([org])}


@asynccontextmanager
async def watched(tmp_path: Path, **over: Any) -> AsyncIterator[Watched]:
    hand = HandClock(NOON)
    time, asked = Time(hand), list[str]()
    answers: dict[str, Callable[[], web.Response]] = {}
    simulation = Simulation(organisations(3, seed=1), clock=hand, pace=STEADY, seed=1)

    @web.middleware
    async def instead(request: web.Request, handler: Any) -> web.StreamResponse:
        asked.append(request.path)
        answer = answers.get("answer") if request.path.endswith("/models") else None
        response: web.StreamResponse = answer() if answer is not None else await handler(request)
        return response

    async with (
        serve(simulation, middlewares=[instead]) as base_url,
        transport() as http,
        opened(f"sqlite:///{tmp_path}/m.db", clock=time) as store,
    ):

        def watcher(org: Org) -> ModelWatcher:
            source = asking(base_url, transport=http, org=org.name, secret=Secret(org.key), clock=time).source
            fields: dict[str, Any] = {
                "org": OrgRef(org=org.name, provider="openai"),
                "rules": (Rule(on=on("shutdown"), notify=("ops",)),),
                "prices": Prices(),
                "jitter": lambda: 0.0,
            }
            return ModelWatcher(
                source=source,
                costs=store.costs,
                outbox=store.outbox,
                leases=store.leases,
                clock=time,
                **{**fields, **over},
            )

        clients = [Client(http.session, base_url, org) for org in simulation.orgs]
        yield Watched([watcher(org) for org in simulation.orgs], clients, store, time, answers, asked)


def says(*models: object, status: int = 200, **more: object) -> Callable[[], web.Response]:
    """An answer to the question for models."""
    return lambda: web.json_response({"object": "list", "data": list(models), **more}, status=status)


def line(name: str, **more: object) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 1, "owned_by": "acme", **more}


async def test_twelve_fine_tunes_in_three_organisations_are_three_notices_with_their_models(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        for client in of.clients:
            await of.tune(client, 4)
        of.at(MIDWINTER)
        for _ in range(3):
            for watcher in of.watchers:
                await watcher.list_once()
                await watcher.announce_once(of.time.now())
        messages = await of.messages()
        listed = {one["org"]: sorted(model["id"] for model in one["models"]) for one in messages}
        mine = sorted([model.id for model in await of.store.costs.tuned_models([of.one.org.org])])
    assert [one["title"] for one in sorted(messages, key=lambda one: str(one["org"]))] == [
        f"4 fine-tuned models of {org} shut down on 14 January 2027, in 52 days"
        for org in ("research", "search", "support")
    ]
    assert all(len(models) == 4 for models in listed.values())
    assert listed["research"] == mine
    assert {name.split(":")[1] for models in listed.values() for name in models} == {MINI}


async def test_each_milestone_is_told_once_however_often_it_is_looked(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await of.tune(of.clients[0], 1)
        await of.one.list_once()
        told: dict[int, tuple[str, ...]] = {}
        for left in (115, 91, 90, 52, 31, 30, 8, 7, 2, 1, 0, -1):
            of.at(datetime(2027, 1, 14, 6, tzinfo=UTC) - left * DAY)
            told[left] = await of.one.announce_once(of.time.now()) + await of.one.announce_once(of.time.now())
    assert {left: ids for left, ids in told.items() if ids} == {
        left: (f"research/shutdown:2027-01-14/{number}",) for left, number in {90: 1, 30: 2, 7: 3, 1: 4}.items()
    }


@pytest.mark.fault("P21")
async def test_a_renamed_organisation_is_told_of_no_end_twice(tmp_path: Path) -> None:
    async with watched(tmp_path) as here:
        await here.tune(here.clients[0], 1)
        here.at(MIDWINTER)
        await here.one.list_once()
        assert len(await here.one.announce_once(MIDWINTER)) == 1
        org = here.one.org.org
        renamed = replace(here.one, org=replace(here.one.org, org="lab", was=("older", org)))
        await renamed.list_once()
        assert await renamed.announce_once(MIDWINTER) == ()
        assert await renamed.announce_once(MIDWINTER + 40 * DAY) != ()


async def test_a_model_that_comes_later_is_told_with_the_next_milestone(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await of.tune(of.clients[0], 1)
        for when, count in ((MIDWINTER, 1), (MIDWINTER + 1 * DAY, 0), (MIDWINTER + 22 * DAY, 2)):
            of.at(when)
            await of.one.list_once()
            assert len(await of.one.announce_once(when)) == (count > 0)
            assert [len(one["models"]) for one in await of.messages()] == ([count] if count else [])
            if count == 1:
                await of.tune(of.clients[0], 1)


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        pytest.param(says(status=401), AuthFailed, id="401"),
        pytest.param(says(status=403), AuthFailed, id="403"),
        pytest.param(says(status=404), NotFound, id="404"),
        pytest.param(says(status=500), ProviderUnavailable, id="500"),
        pytest.param(lambda: web.Response(text="<html>"), Malformed, id="a page of HTML"),
        pytest.param(lambda: web.json_response({"data": None}), Malformed, id="no list"),
        pytest.param(says(line("a"), has_more=True), Malformed, id="a list without end"),
    ],
)
async def test_where_the_list_cannot_be_read_the_results_of_jobs_are_told_of(
    tmp_path: Path, answer: Callable[[], web.Response], raised: type[SourceError]
) -> None:
    prices = Prices(ends=(ModelEnd(models=(MINI,), fine_tuned=JANUARY),))
    async with watched(tmp_path, prices=prices) as of:
        listed = TunedModel(org="research", id=f"ft:{MINI}:acme:old:1", base=MINI, shutdown=JANUARY, listed=True)
        await of.store.costs.replace_models("research", [listed])
        made = TunedModel(org="research", id=f"ft:{MINI}:acme:new:2", base=MINI)
        await of.store.jobs.commit(change(tracked=(ended(),), tuned=(made,)))
        of.answers["answer"] = answer
        with pytest.raises(raised):
            await of.one.list_once()
        assert await of.one.announce_once(MIDWINTER) == ("research/shutdown:2027-01-14/1",)
        of.at(MIDWINTER)
        [message] = await of.messages()
        assert [model["id"] for model in message["models"]] == [made.id, listed.id]


async def test_what_the_list_says_of_ends_is_read_with_care(tmp_path: Path) -> None:
    lines = [
        line(MINI, shutdown_date="2027-01-14"),
        line(f"ft:{MINI}:a:own:1", shutdown_date="2027-03-01"),
        line(f"ft:{MINI}:a:null:2", shutdown_date=None),
        line(f"ft:{MINI}:a:absent:3"),
        *(line(f"ft:{MINI}:a:odd:{n}", shutdown_date=odd) for n, odd in enumerate(["soon", 7, "2027-13-01", {}, ""])),
        line(f"ft:{NANO}:a:no-base:4"),
        {"object": "model"},
        "nonsense",
        line(""),
    ]
    async with watched(tmp_path) as of:
        of.answers["answer"] = says(*lines)
        await of.one.list_once()
        found = await of.inventory()
    assert found == {
        f"ft:{MINI}:a:own:1": date(2027, 3, 1),
        f"ft:{MINI}:a:null:2": JANUARY,
        f"ft:{MINI}:a:absent:3": JANUARY,
        **{f"ft:{MINI}:a:odd:{n}": JANUARY for n in range(5)},
        f"ft:{NANO}:a:no-base:4": None,
    }


async def test_a_model_that_is_deleted_is_forgotten_and_a_job_s_result_is_not(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        made = TunedModel(org="research", id="a-gateway-s-name", base=MINI)
        await of.store.jobs.commit(change(tracked=(ended(),), tuned=(made,)))
        of.answers["answer"] = says(line("ft:x:a:b:1"), line("ft:x:a:b:2"))
        await of.one.list_once()
        of.answers["answer"] = says(line("ft:x:a:b:2"))
        await of.one.list_once()
        assert set(await of.inventory()) == {"ft:x:a:b:2", "a-gateway-s-name"}


@pytest.mark.parametrize("lines", [pytest.param([], id="nothing"), pytest.param([line(MINI)], id="base models")])
async def test_a_list_without_tuned_models_takes_nothing_away(tmp_path: Path, lines: list[object]) -> None:
    async with watched(tmp_path) as of:
        of.answers["answer"] = says(line(MINI), line("ft:x:a:b:1"))
        await of.one.list_once()
        of.answers["answer"] = says(*lines)
        await of.one.list_once()
        assert set(await of.inventory()) == {"ft:x:a:b:1"}


async def test_pages_are_read_where_more_are_promised_and_a_long_list_is_one_page(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        of.answers["answer"] = says(*(line(f"ft:x:a:b:{number}") for number in range(250)))
        await of.one.list_once()
        assert len(await of.inventory()) == 250
        pages = [says(line("ft:x:a:b:1"), has_more=True), says(line("ft:x:a:b:2"), has_more=False)]

        def next_page() -> web.Response:
            return pages.pop(0)()

        of.answers["answer"] = next_page
        await of.one.list_once()
        assert set(await of.inventory()) == {"ft:x:a:b:1", "ft:x:a:b:2"}


async def test_another_replica_s_lease_is_respected(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        assert await another_replica(of.store, of.time).take("research")
        await of.one.list_once()
        assert of.asked == []


async def loop(of: Watched, turns: int) -> None:
    """Run the watcher's loop for so many naps, the first of which is none."""
    of.time.stop_after = len(of.time.naps) + turns
    with pytest.raises(Enough):
        await of.one.run()


async def test_the_list_is_read_every_six_hours_and_the_calendar_every_hour(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await loop(of, 14)
        assert len(of.asked) == 3
        assert of.time.naps[1:] == [HOUR] * 13


async def test_an_end_that_comes_near_between_two_looks_at_the_list_is_told(tmp_path: Path) -> None:
    async with watched(tmp_path, interval=5 * 86_400.0) as of:
        await of.tune(of.clients[0], 1)
        of.at(datetime(2027, 1, 13, 12, tzinfo=UTC) - 90 * DAY)
        await loop(of, 16)
        assert [one["days_left"] for one in await of.messages()] == [90]
        assert len([path for path in of.asked if path.endswith("/models")]) == 1


async def test_failures_are_backed_off_and_said_once_on_the_way_down_and_up(tmp_path: Path) -> None:
    async with watched(tmp_path, jitter=lambda: 0.5) as of:
        of.answers["answer"] = says(status=503)
        with capture_logs() as lines:
            await loop(of, 4)
            del of.answers["answer"]
            await loop(of, 2)
        assert of.time.naps[1:4] == [30.0, 60.0, 120.0]
        assert [(one["event"], one.get("reason")) for one in lines] == [
            ("models.not_listed", "unavailable"),
            ("models.listed_again", None),
        ]


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refusal_is_not_hurried(tmp_path: Path, status: int) -> None:
    async with watched(tmp_path) as of:
        of.answers["answer"] = says(status=status)
        with capture_logs() as lines:
            await loop(of, 14)
        assert len(of.asked) == 3
        assert [one["event"] for one in lines] == ["models.not_listed"]


async def test_a_server_that_asks_for_a_pause_gets_it(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        of.answers["answer"] = lambda: web.Response(status=429, headers={"Retry-After": "1200"})
        await loop(of, 2)
        assert of.time.naps[1] >= 1200
