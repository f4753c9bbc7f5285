"""Training files are counted for so long and no longer, and nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from aiohttp import web

from monitor.domain.flow import Known
from monitor.providers.base import RateLimited
from monitor.source import training_size
from tests.builders import NOON
from tests.source.servers import Api, Handler, answering, asking, body, job, refusal, serving

NEVER = Known(org="research")
MODEL = "gpt-4o-mini-2024-07-18"


def line(question: str) -> bytes:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "yes"}]
    return json.dumps({"messages": messages}).encode() + b"\n"


def api(content: bytes) -> Handler:
    jobs = Api(jobs=[job(f"ftjob-{number}", metadata={"note": "x" * 400}) for number in range(60)])

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/content"):
            return body(content)()
        return web.json_response({"bytes": len(content)}) if "/files/" in request.path else await jobs(request)

    return answer


async def test_a_short_file_is_counted() -> None:
    async with serving(api(line("hello") * 3)) as url, asking(url) as asked:
        found = await training_size(asked.source, "file-1", MODEL)
    assert (found.tokens, found.examples, found.exact) == (39, 3, True)


async def test_a_file_that_takes_too_long_is_guessed() -> None:
    content = line("a" * 4_000_000)
    async with serving(api(content)) as url, asking(url) as asked:
        await training_size(asked.source, "file-0", MODEL)  # loads the vocabulary
        started = time.monotonic()
        found = await training_size(asked.source, "file-1", MODEL, longest=0.1)
        assert time.monotonic() - started < 15  # all of it takes 20 s
    assert not found.exact
    assert found.low < len(content) / 5 < found.high


async def test_others_are_read_while_files_are_counted() -> None:
    async with serving(api(line("a" * 4_000_000))) as url, asking(url) as asked:
        counting = [asyncio.create_task(training_size(asked.source, f"file-{n}", MODEL, longest=4.0)) for n in range(3)]
        await asyncio.sleep(1)
        assert asked.source.client.transport.file_limiter.available_tokens == 0
        seen = await asyncio.wait_for(asked.source.observe(NEVER, NOON), 3)
        assert len(seen.jobs) == 60
        assert not any(task.done() for task in counting)
        for task in counting:
            task.cancel()
        await asyncio.wait(counting)


async def test_that_files_are_to_wait_holds_up_no_poll_and_that_jobs_are_holds_up_everything() -> None:
    jobs, hasty = Api(jobs=[job()]), answering(lambda: refusal(429, Retry_After="3000"))

    async def files(request: web.BaseRequest) -> web.StreamResponse:
        return await (hasty if "/files/" in request.path else jobs)(request)

    async with serving(files) as url, asking(url) as asked:
        for _ in range(2):
            with pytest.raises(RateLimited):
                await training_size(asked.source, "file-1", MODEL)
        assert [operation for operation, _ in asked.counted] == ["get_file"], "the second is not asked for"
        assert len((await asked.source.observe(NEVER, NOON)).jobs) == 1
        jobs.faults["jobs"] = hasty
        with pytest.raises(RateLimited):
            await asked.source.observe(NEVER, NOON)
        asked.counted.clear()
        for refused in (asked.source.observe(NEVER, NOON), training_size(asked.source, "file-2", MODEL)):
            with pytest.raises(RateLimited, match="asked for a pause"):
                await refused
        assert asked.counted == []
