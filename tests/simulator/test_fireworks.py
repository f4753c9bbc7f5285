"""Fireworks' dialect as its own package reads it, and behaviour of its service alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, get_args

import fireworks
import pytest
from fireworks import AsyncFireworks
from fireworks.types import DpoJob, ReinforcementFineTuningJob, SupervisedFineTuningJob
from fireworks.types.shared import Status as RpcStatus

from monitor.simulator import Ending, Simulation, Traffic, organisations
from monitor.simulator.fireworks import job_json
from tests.simulator.conftest import STEADY, Api, HandClock, provided


@pytest.fixture
async def api(clock: HandClock) -> AsyncIterator[Api]:
    async with provided("fireworks", clock, "/fireworks/v1") as opened:
        yield opened


@pytest.fixture
async def client(api: Api) -> AsyncIterator[AsyncFireworks]:
    base_url = api.base_url.removesuffix("/v1")
    async with AsyncFireworks(api_key=api.org.key, account_id=api.org.id, base_url=base_url, max_retries=0) as opened:
        yield opened


def path(api: Api, collection: str, rest: str = "") -> str:
    return f"/accounts/{api.org.id}/{collection}{rest}"


async def test_a_job_is_followed_from_its_creation_to_its_model(
    api: Api, client: AsyncFireworks, clock: HandClock
) -> None:
    job_id, seen, percents = api.start(suffix="tone"), list[str](), list[int]()
    while not seen or seen[-1] != "JOB_STATE_COMPLETED":
        job = await client.supervised_fine_tuning_jobs.get(job_id)
        seen.append(str(job.state))
        percents.append((job.job_progress.percent if job.job_progress else None) or 0)
        clock.move(1)
    states = [word.removeprefix("JOB_STATE_") for word in dict.fromkeys(seen)]
    assert states == ["CREATING", "VALIDATING", "PENDING", "RUNNING", "WRITING_RESULTS", "COMPLETED"]
    assert percents == sorted(percents)
    assert (percents[0], percents[-1]) == (0, 100)
    assert job.completed_time is not None
    assert job.create_time is not None
    assert (job.completed_time - job.create_time).total_seconds() == 65
    assert (job.output_model or "").startswith(f"accounts/{api.org.id}/models/tone-")
    assert job.status is not None
    assert job.status.code == "OK"


async def test_each_method_has_a_list_and_fields_of_its_own(api: Api, client: AsyncFireworks, clock: HandClock) -> None:
    made = {method: api.start(method=method) for method in ("supervised", "dpo", "reinforcement")}
    clock.move(60 * 40)
    [supervised] = [job async for job in client.supervised_fine_tuning_jobs.list()]
    [dpo] = [job async for job in client.dpo_jobs.list()]
    [reinforcement] = [job async for job in client.reinforcement_fine_tuning_jobs.list()]
    names = [str(job.name).rpartition("/")[2] for job in (supervised, dpo, reinforcement)]
    assert names == list(made.values())
    assert supervised.base_model == "accounts/fireworks/models/llama-v3p1-8b-instruct"
    assert (supervised.estimated_cost is None, supervised.update_time is None) == (False, False)
    for other in (dpo.to_dict(), reinforcement.to_dict()):
        assert not {"estimatedCost", "updateTime", "baseModel"} & other.keys()
        assert "baseModel" in other["trainingConfig"]  # type: ignore[operator]  # a dict within a dict
    assert "jobProgress" not in dpo.to_dict()
    assert reinforcement.accelerator_seconds == {"NVIDIA_H100_80GB": str(60 * 30 * 8)}


@pytest.mark.parametrize(
    ("tokens", "cost"),
    [
        pytest.param(4000, {"currencyCode": "USD", "nanos": 6_000_000}, id="below a dollar there are no units"),
        pytest.param(2_000_000, {"currencyCode": "USD", "units": "3"}, id="a round sum has no nanos"),
        pytest.param(1_000_000, {"currencyCode": "USD", "units": "1", "nanos": 500_000_000}, id="units are text"),
    ],
)
def test_money_is_units_and_nanos(clock: HandClock, tokens: int, cost: dict[str, Any]) -> None:
    [org] = organisations(1, seed=1, providers=("fireworks",))
    job = Simulation((org,), clock=clock, pace=STEADY).start_job(org, tokens=tokens)
    assert job_json(job, clock.now)["estimatedCost"] == cost


async def test_the_first_page_is_by_name_unless_the_newest_are_asked_for(
    api: Api, client: AsyncFireworks, clock: HandClock
) -> None:
    made = []
    for _ in range(60):
        made.append(api.start())
        clock.move(1)
    first = await api.get(path(api, "supervisedFineTuningJobs"))
    names = [job["name"].rpartition("/")[2] for job in first["supervisedFineTuningJobs"]]
    assert (names, first["totalSize"]) == (sorted(made)[:50], 60)
    newest = [
        str(job.name).rpartition("/")[2]
        async for job in client.supervised_fine_tuning_jobs.list(order_by="create_time desc", page_size=25)
    ]
    assert newest == made[::-1]
    last = await api.get(path(api, "supervisedFineTuningJobs", "?pageSize=500"))
    assert (len(last["supervisedFineTuningJobs"]), last["nextPageToken"]) == (60, "")


async def test_jobs_are_filtered_by_state(api: Api, client: AsyncFireworks, clock: HandClock) -> None:
    api.start()
    clock.move(30)
    api.start()
    running = client.supervised_fine_tuning_jobs.list(filter='state="JOB_STATE_RUNNING"')
    assert len([job async for job in running]) == 1
    assert (await api.call(path(api, "dpoJobs", "?filter=nonsense")))[0] == 400


async def test_a_suspended_account_pauses_and_a_job_is_queued_again(api: Api, clock: HandClock) -> None:
    job_id = api.start()
    clock.move(20)
    api.simulation.pause(api.org, job_id)
    where = path(api, "supervisedFineTuningJobs", f"/{job_id}")
    paused = await api.get(where)
    api.simulation.resume(api.org, job_id)
    again = await api.get(where)
    assert (paused["state"], paused["status"]["code"]) == ("JOB_STATE_PAUSED", "FAILED_PRECONDITION")
    assert again["state"] == "JOB_STATE_RE_QUEUEING"


async def test_a_job_is_cancelled_by_the_package(api: Api, client: AsyncFireworks, clock: HandClock) -> None:
    job_id = api.start()
    clock.move(20)
    await client.supervised_fine_tuning_jobs.cancel(job_id, body={})
    seen = [(await client.supervised_fine_tuning_jobs.get(job_id)).state]
    clock.move(60)
    seen.append((await client.supervised_fine_tuning_jobs.get(job_id)).state)
    assert seen == ["JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED"]


async def test_another_account_and_another_key_are_refused(api: Api, client: AsyncFireworks) -> None:
    with pytest.raises(fireworks.PermissionDeniedError):
        await client.supervised_fine_tuning_jobs.get("any", account_id="another")
    with pytest.raises(fireworks.AuthenticationError):
        await client.with_options(api_key="fw_wrong").supervised_fine_tuning_jobs.get("any")
    with pytest.raises(fireworks.NotFoundError):
        await client.dpo_jobs.get("none")


def test_every_value_is_in_the_package_and_jobs_reveal_a_secret(clock: HandClock) -> None:
    [org] = organisations(1, seed=2, providers=("fireworks",))
    jobs = Simulation((org,), clock=clock, pace=STEADY, traffic=Traffic(history=80, under_way=3)).jobs(org)
    shown = [job_json(job, clock.now) for job in jobs]
    for model in (SupervisedFineTuningJob, DpoJob, ReinforcementFineTuningJob):
        known = set(get_args(get_args(model.model_fields["state"].annotation)[0]))
        assert {job["state"] for job in shown} <= known
    codes = set(get_args(get_args(RpcStatus.model_fields["code"].annotation)[0]))
    assert {"OK", "INTERNAL", "INVALID_ARGUMENT", "CANCELLED"} <= {job["status"]["code"] for job in shown} <= codes
    assert {"JOB_STATE_COMPLETED", "JOB_STATE_EARLY_STOPPED"} <= {job["state"] for job in shown}
    assert any(len(job["wandbConfig"]["apiKey"]) == 40 for job in shown)


async def test_a_failed_job_says_whose_fault_it_is(api: Api, clock: HandClock) -> None:
    mine, theirs = api.start(ending=Ending.VALIDATION), api.start(ending=Ending.SERVER_ERROR)
    clock.move(1000)
    found = [await api.get(path(api, "supervisedFineTuningJobs", f"/{each}")) for each in (mine, theirs)]
    assert [job["state"] for job in found] == ["JOB_STATE_FAILED"] * 2
    assert [job["status"]["code"] for job in found] == ["INVALID_ARGUMENT", "INTERNAL"]
    assert found[0]["completedTime"].startswith("2026-09-21T14:13:25")
