"""The shipped files work together: monitor, Prometheus, Alertmanager and a receiver, with a failing job."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from monitor.simulator import Simulation, organisations, serve, training_file
from tests.deploy.live import alertmanager, demo, prometheus, receiving
from tests.deploy.tools import needs
from tests.e2e.daemon import FAST, organization, running, until
from tests.e2e.test_notices import ending
from tests.e2e.test_story import BRISK, create, upload

ENDING = "gpt-4.1-mini-2025-04-14"
"""The base model that is shut down in 20 days, in every demo."""


@pytest.mark.slow
@pytest.mark.timeout(240)
@needs("prometheus")
@needs("prometheus-alertmanager")
async def test_a_failed_job_and_a_model_that_ends_reach_the_receiver_of_alertmanager(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1), pace=BRISK)
    org = simulation.orgs[0]
    async with serve(simulation, middlewares=[ending(20)]) as base_url:
        settings = {"organizations": [organization(org, base_url)], "poll": {**FAST, "models_interval": "300ms"}}
        async with receiving() as receiver, running(tmp_path, settings) as monitor:
            async with alertmanager(tmp_path, receiver) as manager:
                async with prometheus(tmp_path, urlsplit(monitor.url).netloc, alertmanager=manager):
                    file = await upload(base_url, org.key, training_file(examples=10, tokens=1_000))
                    job = {"training_file": file, "model": "gpt-4o-mini"}
                    await create(base_url, org.key, **job)
                    failing = await create(base_url, org.key, **job, metadata={"simulate": "server_error"})
                    await until(lambda: bool(receiver.told("FinetuneJobFailed", job_id=failing)), 90)
                    await until(lambda: bool(receiver.told("FinetuneModelShutdownNear", org=org.name)), 90)
    (failed,) = receiver.told("FinetuneJobFailed", job_id=failing)[:1]
    assert failed["annotations"]["summary"] == f"Fine-tuning job {failing} of {org.name} failed"
    assert failed["annotations"]["dashboard_url"].endswith(f"var-org={org.name}&var-job={failing}")
    assert len({one["labels"]["job_id"] for one in receiver.told("FinetuneJobFailed")}) == 1
    (near,) = receiver.told("FinetuneModelShutdownNear")[:1]
    assert near["annotations"]["summary"] == f"Fine-tuned models of {org.name} that are shut down within 30 days: 1"


@pytest.mark.slow
@pytest.mark.timeout(240)
@needs("prometheus")
@needs("prometheus-alertmanager")
async def test_on_the_demo_as_a_user_starts_it_both_alerts_arrive(tmp_path: Path) -> None:
    async with receiving() as receiver, demo(tmp_path, speed=1) as target, alertmanager(tmp_path, receiver) as manager:
        async with prometheus(tmp_path, target, alertmanager=manager):
            await until(lambda: bool(receiver.told("FinetuneJobFailed")), 120)
            await until(lambda: bool(receiver.told("FinetuneModelShutdownNear")), 60)
    assert {one["labels"]["base_model"] for one in receiver.told("FinetuneModelShutdownNear")} == {ENDING}
    assert all(one["annotations"]["summary"] for one in receiver.alerts)
