"""The scrape of the real process: every series of the contract with its labels, and no complaints of promtool."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from monitor.domain.model import Status
from monitor.simulator import Simulation, organisations, serve, training_file
from tests.e2e.daemon import Daemon, running, until
from tests.e2e.receivers import Inbox, webhook
from tests.e2e.test_story import BRISK, configuration, create, upload
from tests.metrics.scrapes import OPENMETRICS, series

pytestmark = pytest.mark.fault("G33")

CONTRACT: Final = {
    "finetune_jobs": "org status",
    "finetune_jobs_finished_total": "org model method status",
    "finetune_job_failures_total": "org model reason",
    "finetune_queue_duration_seconds_bucket": "org model le",
    "finetune_run_duration_seconds_bucket": "org model status le",
    "finetune_trained_tokens_total": "org model method",
    "finetune_cost_dollars_total": "org model method",
    "finetune_job_info": "org job_id provider model method fine_tuned_model name",
    "finetune_job_status": "org job_id status",
    "finetune_job_created_timestamp_seconds": "org job_id",
    "finetune_job_started_timestamp_seconds": "org job_id",
    "finetune_job_finished_timestamp_seconds": "org job_id",
    "finetune_job_last_activity_timestamp_seconds": "org job_id",
    "finetune_job_duration_seconds": "org job_id phase",
    "finetune_job_progress_ratio": "org job_id",
    "finetune_job_step": "org job_id",
    "finetune_job_steps": "org job_id",
    "finetune_job_train_loss": "org job_id",
    "finetune_job_trained_tokens": "org job_id",
    "finetune_job_cost_dollars": "org job_id",
    "finetune_job_series_dropped": "",
    "finetune_org_up": "org",
    "finetune_org_last_success_timestamp_seconds": "org",
    "finetune_org_polls_total": "org",
    "finetune_org_poll_errors_total": "org reason",
    "finetune_api_requests_total": "org operation code",
    "finetune_poll_duration_seconds_bucket": "le",
    "finetune_detection_delay_seconds_bucket": "le",
    "finetune_notifications_sent_total": "notifier",
    "finetune_notifications_failed_total": "notifier reason",
    "finetune_outbox_pending": "notifier",
    "finetune_notifier_parked": "notifier",
    "finetune_config_last_reload_successful": "",
    "finetune_config_last_reload_success_timestamp_seconds": "",
    "finetune_monitor_build_info": "version revision python",
    "finetune_monitor_loop_lag_seconds_bucket": "le",
    "finetune_monitor_tasks": "",
    "finetune_monitor_organizations": "",
}


@pytest.mark.fault("G33")
async def test_a_busy_scrape_has_every_series_of_the_contract_and_promtool_is_silent(tmp_path: Path) -> None:

    orgs = organisations(2)
    simulation, refusals = Simulation(orgs, pace=BRISK), iter(range(1))

    def answer(_body: dict[str, Any]) -> web.Response | None:
        return web.Response(status=503) if next(refusals, None) is not None else None

    async with serve(simulation) as base_url, webhook(Inbox(answer=answer)) as hook:
        settings = configuration(orgs, base_url, hook)
        for one in settings["organizations"]:
            one.pop("labels", None)
        async with running(tmp_path, settings) as daemon:
            await until(lambda: daemon.log.count('"event":"org.first_seen"') == 2)
            await zero_initialised(daemon, [org.name for org in orgs])
            file = await upload(base_url, orgs[0].key, training_file(examples=10, tokens=1_000))
            for metadata in ({}, {"simulate": "server_error"}):
                await create(base_url, orgs[0].key, training_file=file, model="gpt-4o-mini", metadata=metadata)
            await until(lambda: len(hook.ends()) == 2, 30)
            await asyncio.sleep(0.5)
            plain = (await daemon.get("/metrics"))[1]
            openmetrics = await said(daemon, OPENMETRICS)
    found = series(plain)
    for name, labels in CONTRACT.items():
        assert name in found, name
        for one in found[name]:
            assert set(dict(one)) == set(labels.split()), name
    assert series(openmetrics).keys() == found.keys()
    assert {dict(one)["status"] for one in found["finetune_job_status"]} <= set(Status)
    promtool = shutil.which("promtool")
    if promtool is not None:
        done = await asyncio.to_thread(checked, promtool, plain)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def zero_initialised(daemon: Daemon, orgs: list[str]) -> None:
    """Assert that every organisation has each status and its counters, starting at 0."""
    found = series((await daemon.get("/metrics"))[1])
    pairs = {(dict(one)["org"], dict(one)["status"]) for one in found["finetune_jobs"]}
    assert pairs == {(org, status.value) for org in orgs for status in Status}
    reasons = {(dict(one)["org"], dict(one)["reason"]): n for one, n in found["finetune_org_poll_errors_total"].items()}
    assert set(reasons.values()) == {0}
    assert len(reasons) == 6 * len(orgs)


async def said(daemon: Daemon, accept: str) -> str:

    async with aiohttp.ClientSession() as client:
        async with client.get(daemon.url + "/metrics", headers={"Accept": accept}) as answer:
            assert answer.content_type == "application/openmetrics-text"
            return await answer.text()


def checked(promtool: str, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
