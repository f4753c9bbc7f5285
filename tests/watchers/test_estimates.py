"""Estimates of running jobs, by their training files: real source, store and API; only the time is ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.config import load_prices
from monitor.domain.decide import Policy
from monitor.domain.flow import Tracked
from monitor.domain.health import Health
from monitor.domain.model import Basis, Cost
from monitor.domain.routing import Rule
from monitor.domain.snapshot import Snapshot
from monitor.metrics.view import build_view
from monitor.providers.openai.naming import NAMING
from monitor.watchers.state import PollState
from tests.builders import on
from tests.watchers.test_jobs import Watched, broken, loop, read_loop, watched

TOLD = Rule(on=on("started", "succeeded"), notify=("n",))
POLICY = Policy(prices=load_prices().of("openai", seller="openai", naming=NAMING), rules=(TOLD,))
LINE = b'{"messages": [{"role": "user", "content": "ask"}, {"role": "assistant", "content": "tell"}]}\n'
TEN = LINE * 10


def hundred_thousand() -> bytes:
    """A hundred examples of 1000 tokens each: 988 words and the answer, and 11 for roles and the ends of messages.

    The words have four bytes, some have six: the simulator, which counts a token for four bytes, finds 1000 as well.
    """
    question = " the" * 966 + " about" * 22
    said = [{"role": "user", "content": question}, {"role": "assistant", "content": " the"}]
    return (json.dumps({"messages": said}) + "\n").encode() * 100


async def create(of: Watched, content: bytes = TEN, **body: Any) -> str:
    file = body.pop("file", None) or (await of.client.upload(content))[1]["id"]
    asked = {"model": "gpt-3.5-turbo", "training_file": file, "metadata": {"simulate": "stuck_queue"}, **body}
    status, job = await of.client.call("POST", "/fine_tuning/jobs", asked)
    assert status == 200, job
    return str(job["id"])


def asked(of: Watched, operation: str) -> int:
    """How many requests there were, whatever came of them."""
    [family] = [one for one in of.own.families if one.name == "finetune_api_requests_total"]
    counts = family.rows(build_view(Snapshot(at=of.time.now()), Health()))
    return int(sum(float(str(count)) for (_, asked, _), count in counts.items() if asked == operation))


async def size(of: Watched) -> bool:
    return bool(await of.watcher.read_file_once())


async def job_of(of: Watched, job: str) -> Tracked:
    found = await of.store.reader.job("research", job)
    assert found is not None
    return found.tracked


async def test_a_file_of_100_000_tokens_is_about_two_dollars_forty_and_then_exactly(tmp_path: Path) -> None:
    async with watched(tmp_path, policy=POLICY) as of:
        await of.poll()
        job = await create(of, hundred_thousand(), metadata={})
        await of.poll()
        assert await size(of)
        running = await job_of(of, job)
        assert running.cost == Cost(basis=Basis.ESTIMATED, usd=Decimal("2.40"))
        assert running.size is not None
        assert (running.size.tokens, running.size.examples, running.size.exact) == (100_000, 100, True)
        of.time.move(20)
        await of.poll()
        assert (await job_of(of, job)).job.tuning.epochs == 3
        of.time.move(60)
        await of.poll()
        done = await job_of(of, job)
        assert done.job.tuning.trained_tokens == 300_000
        assert done.cost == Cost(basis=Basis.COMPUTED, usd=Decimal("2.40"))
        spent = await of.store.costs.spent(None, ["research"])
        assert [(one.job, one.usd) for one in spent.spendings] == [(job, Decimal("2.40"))]
        assert [model.id for model in await of.store.costs.tuned_models(["research"])] == [
            done.job.tuning.fine_tuned_model
        ]


async def test_a_file_is_read_once_for_all_its_jobs_and_never_again(tmp_path: Path) -> None:
    async with watched(tmp_path, policy=POLICY) as of:
        of.own.watch(["research"], ["n"])
        await of.poll()
        file = (await of.client.upload(TEN))[1]["id"]
        jobs = [await create(of, file=file) for _ in range(3)]
        await of.poll()
        assert await size(of)
        assert not await size(of)
        sizes = {(await job_of(of, job)).size for job in jobs}
        assert len(sizes) == 1
        assert None not in sizes
        jobs.append(await create(of, file=file))
        await of.poll()
        assert await size(of)
        assert (await job_of(of, jobs[-1])).size in sizes
        assert (asked(of, "get_file"), asked(of, "get_content")) == (1, 1)
        again = replace(of.watcher, sizes=type(of.watcher.sizes)(), state=PollState())
        assert await again.read_file_once() is None
        await again.poll_once(of.time.now())
        assert (await job_of(of, jobs[0])).size in sizes
        assert asked(of, "get_file") == 1, "after a restart the jobs still know"


def answer(body: object = None, *, text: str | None = None) -> Callable[[], web.Response]:
    return lambda: web.json_response(body) if text is None else web.Response(text=text)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(broken(401), id="the key may not read contents"),
        pytest.param(broken(403), id="nor is it allowed to"),
        pytest.param(broken(404), id="the content is gone"),
        pytest.param(broken(500), id="the server fails"),
        pytest.param(broken(429), id="or wants to be left alone"),
        pytest.param(answer(text="<html>login</html>"), id="a gateway answers for it"),
        pytest.param(answer(text=""), id="there is nothing in it"),
        pytest.param(answer(text="\x00\ud800".encode(errors="replace").decode() * 9), id="or only noise"),
        pytest.param(answer(text="[" * 200_000), id="or something deep"),
    ],
)
async def test_without_the_content_the_length_makes_a_guess_with_a_band(
    tmp_path: Path, content: Callable[[], web.Response]
) -> None:
    async with watched(tmp_path, policy=POLICY) as of:
        of.own.watch(["research"], ["n"])
        await of.poll()
        of.faults["content"] = content
        job = await create(of, LINE * 400)
        await of.poll()
        assert await size(of)
        cost = (await job_of(of, job)).cost
        assert cost is not None
        assert cost.usd is not None
        assert cost.low is not None
        assert cost.high is not None
        assert cost.low < cost.usd < cost.high
        assert not await size(of)
        assert asked(of, "get_content") == 1
        assert of.watcher.state.trouble is None


async def test_a_file_larger_than_an_answer_may_be_is_not_asked_for(tmp_path: Path) -> None:
    async with watched(tmp_path, policy=POLICY) as of:
        of.own.watch(["research"], ["n"])
        await of.poll()
        file = (await of.client.upload(TEN))[1]["id"]
        most = of.watcher.source.client.limits.max_bytes
        of.faults[file] = answer({"bytes": most + 1})
        job = await create(of, file=file)
        await of.poll()
        assert await size(of)
        assert (await job_of(of, job)).cost is not None
        assert asked(of, "get_content") == 0
        other = (await of.client.upload(TEN))[1]["id"]
        of.faults[other] = answer({"bytes": most})
        await create(of, file=other)
        await of.poll()
        assert await size(of)
        assert asked(of, "get_content") == 1


THRICE = [1, 1, 2, 2, 3, 3, 3]  # hourly
HOURLY = [1, 1, 2, 2, 3, 4, 5]
EACH_MINUTE = [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param(broken(401), THRICE, id="the key is refused"),
        pytest.param(broken(403), THRICE, id="files are not for this key"),
        pytest.param(broken(404), THRICE, id="the file is another project's"),
        pytest.param(answer(text="<html>"), THRICE, id="no file at all"),
        pytest.param(broken(429), HOURLY, id="too many requests are no refusal"),
        pytest.param(broken(500), EACH_MINUTE, id="nor is a server that fails"),
    ],
)
async def test_a_refused_file_troubles_nobody_and_is_asked_for_hourly_three_times(
    tmp_path: Path, fault: Callable[[], web.Response], expected: list[int]
) -> None:
    async with watched(tmp_path, policy=POLICY) as of:
        of.own.watch(["research"], ["n"])
        await of.poll()
        file = (await of.client.upload(TEN))[1]["id"]
        of.faults[file] = fault
        job = await create(of, file=file)
        await loop(of, 2)
        await read_loop(of, 1)
        counts = []
        for wait in (3_400, 300, 3_500, 200, 4_000, 99_000):
            counts.append(asked(of, "get_file"))
            of.time.move(wait)
            assert not await size(of)
        counts.append(asked(of, "get_file"))
        assert counts == expected
        assert of.watcher.state.up is True
        assert of.watcher.state.trouble is None
        assert of.watcher.state.failures == 0
        assert (await job_of(of, job)).cost is None


async def test_one_refusal_for_all_files_is_not_asked_for_again_with_each(tmp_path: Path) -> None:
    async with watched(tmp_path, policy=POLICY) as of:
        of.own.watch(["research"], ["n"])
        await of.poll()
        files = [(await of.client.upload(TEN))[1]["id"] for _ in range(2)]
        of.faults |= {file: broken(403) for file in files}
        for file in files:
            await create(of, file=file)
        await of.poll()
        assert not await size(of)
        assert not await size(of)
        assert asked(of, "get_file") == 1
        of.faults.clear()
        of.time.move(3_600)
        assert await size(of)


async def test_one_lost_file_does_not_stand_before_the_others(tmp_path: Path) -> None:
    async with watched(tmp_path, policy=POLICY) as of:
        await of.poll()
        files = [(await of.client.upload(TEN))[1]["id"] for _ in range(2)]
        jobs = [await create(of, file=file) for file in files]
        of.faults |= {file: broken(404) for file in files[1:]}
        await of.poll()
        await size(of)
        await size(of)
        assert [(await job_of(of, job)).size is not None for job in jobs] == [True, False]


async def test_a_file_that_fails_does_not_end_the_turn_of_the_next(tmp_path: Path) -> None:
    async with watched(tmp_path, policy=POLICY) as of:
        await of.poll()
        files = [(await of.client.upload(TEN))[1]["id"] for _ in range(3)]
        jobs = [await create(of, file=file) for file in files]
        of.faults |= {file: broken(500) for file in files[1:]}
        await loop(of, 2)
        await read_loop(of, 1)
        assert [(await job_of(of, job)).size is not None for job in jobs] == [True, False, False]


async def test_files_are_read_beside_the_polls_and_not_in_them(tmp_path: Path) -> None:
    async with watched(tmp_path, policy=POLICY) as of:
        of.own.watch(["research"], ["n"])
        await of.poll()
        jobs = [await create(of, LINE * (10 + count)) for count in range(6)]
        await loop(of, 2)
        assert asked(of, "get_content") == 0
        await read_loop(of, 1)
        assert asked(of, "get_content") == 6
        assert None not in [(await job_of(of, job)).size for job in jobs]


@pytest.mark.parametrize(
    "trouble",
    [pytest.param(broken(500), id="down"), pytest.param(broken(429, **{"Retry-After": "500"}), id="leave us alone")],
)
async def test_where_the_list_fails_no_file_is_asked_for(tmp_path: Path, trouble: Callable[[], web.Response]) -> None:
    async with watched(tmp_path, policy=POLICY) as of:
        of.own.watch(["research"], ["n"])
        await of.poll()
        await create(of)
        await of.poll()
        of.faults["jobs"] = trouble
        await loop(of, 3)
        await read_loop(of, 3)
        assert (asked(of, "get_file"), of.watcher.state.up) == (0, False)


async def test_jobs_that_are_not_paid_by_their_file_are_left_alone(tmp_path: Path) -> None:
    grader = {"type": "string_check", "name": "g", "input": "a", "operation": "eq", "reference": "b"}
    rft = {"type": "reinforcement", "reinforcement": {"grader": grader}}
    async with watched(tmp_path, policy=POLICY) as of:
        of.own.watch(["research"], ["n"])
        await of.poll()
        await create(of, model="o4-mini", method=rft)
        done = await create(of, metadata={})
        of.time.move(90)
        await of.poll()
        assert (await job_of(of, done)).job.status.final
        assert not await size(of)
        of.watcher.sizes.not_before = 0.0
        without = replace(of.watcher, policy=Policy())
        await create(of)
        await without.poll_once(of.time.now())
        assert await without.read_file_once() is None
        assert asked(of, "get_file") == 0


async def test_a_message_shows_between_which_amounts_an_estimate_lies(tmp_path: Path) -> None:
    async with watched(tmp_path, policy=POLICY) as of:
        await of.poll()
        of.faults["content"] = broken(403)
        await create(of, LINE * 4000, metadata={})
        await of.poll()
        assert await size(of)
        of.time.move(20)
        changes = await of.watcher.poll_once(of.time.now())
        assert changes is not None
        [delivery] = changes[0].deliveries
        cost = dict(delivery.message.facts)["Cost"]
        assert cost.startswith("about $")
        assert " (between $" in cost
        view = json.loads(delivery.message.data)["job"]["cost"]
        assert set(view) == {"usd", "basis", "low", "high"}
