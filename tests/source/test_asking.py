"""How an organisation is asked: within its budget, counted, and with the patience that the server asks for."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiolimiter import AsyncLimiter

from monitor.clock import SystemClock
from monitor.providers.base import ProviderUnavailable, RateLimited, SourceError
from tests.source.servers import Api, answering, asking, hang, refusal, serving


async def failed_check(url: str) -> SourceError:
    async with asking(url) as asked:
        with pytest.raises(SourceError) as caught:
            await asked.source.check()
    return caught.value


@pytest.mark.fault("P22")
@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"Retry_After": "7"}, 7.0),
        (429, {"Retry_After_Ms": "250"}, 0.25),
        (503, {"Retry_After": "99999999"}, 3600.0),
        (429, {"Retry_After": "soon"}, None),
        (429, {}, None),
        (401, {"Retry_After": "7"}, None),
    ],
)
async def test_the_wait_that_a_server_asks_for_is_kept(
    status: int, headers: dict[str, str], wait: float | None
) -> None:
    async with serving(answering(lambda: refusal(status, **headers))) as url:
        assert (await failed_check(url)).retry_after == wait


async def test_two_waits_are_none() -> None:
    def twice() -> web.Response:
        answer = refusal(429)
        answer.headers.extend([("Retry-After", "5"), ("Retry-After", "7")])
        return answer

    async with serving(answering(twice)) as url:
        error = await failed_check(url)
    assert (type(error), error.retry_after) == (RateLimited, None)


async def test_requests_are_counted_by_what_became_of_them() -> None:
    api = Api()
    async with serving(api) as url, asking(url, limits={"timeout": 0.5}) as asked:
        await asked.source.check()
        for fault in (answering(lambda: refusal(500)), hang):
            api.faults["jobs"] = fault
            with pytest.raises(ProviderUnavailable):
                await asked.source.check()
    async with asking(url) as unreachable:
        with pytest.raises(ProviderUnavailable):
            await unreachable.source.check()
    assert asked.counted == [("list_jobs", "200"), ("list_jobs", "500"), ("list_jobs", "timeout")]
    assert unreachable.counted == [("list_jobs", "error")]


async def test_requests_keep_to_the_budget() -> None:
    clock = SystemClock()
    async with serving(Api()) as url, asking(url, limiter=AsyncLimiter(2, 0.1)) as asked:
        started = clock.monotonic()
        for _ in range(6):
            await asked.source.check()
    assert clock.monotonic() - started >= 0.15
