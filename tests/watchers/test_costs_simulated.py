"""The cost watcher against the simulated API, and what it imports held against each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.domain.reconcile import LineItemKind, drift, reconcile
from monitor.providers import line_item_kind
from monitor.secret import Secret
from monitor.simulator import Simulation, Traffic, organisations, serve
from monitor.source import transport
from monitor.store import opened
from tests.simulator.conftest import NOON, STEADY, HandClock
from tests.source.books import accounts
from tests.watchers.books import Time, watcher


async def test_the_use_of_models_costs_what_the_simulated_bill_says(tmp_path: Path) -> None:
    clock, time = HandClock(), Time(datetime.fromtimestamp(NOON, UTC))
    traffic = Traffic(history=30, in_use=6)
    simulation = Simulation(organisations(1, seed=4), clock=clock, pace=STEADY, traffic=traffic, seed=4)
    org = simulation.orgs[0]
    async with (
        serve(simulation) as base_url,
        transport() as http,
        opened(f"sqlite:///{tmp_path}/m.db", clock=time) as store,
    ):
        reader = watcher(accounts(base_url, http, org=org.name, secret=Secret(org.admin_key)), store, time)
        while not await reader.read_once(time.now()):
            pass
        booked = await store.costs.records(time.now() - timedelta(days=40), [org.name])
    assert len({one.model for one in booked.usages}) == 6
    today = time.now().date()
    since = today - timedelta(days=30)
    books = reconcile(booked.trained, booked.usages, booked.bills, since, today, kinds=line_item_kind)
    (use,) = [one for one in drift(books, today) if one.kind is LineItemKind.INFERENCE]
    assert use.computed > 0
    assert abs(use.usd) < use.computed / 10**6
    assert any(one.billed_training for one in books)
    assert {name for one in books for name in one.unknown} == set()
