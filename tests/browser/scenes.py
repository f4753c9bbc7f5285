"""A site with content of every kind."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from monitor.domain.costs import TunedModel
from monitor.domain.flow import Reason, Tracked, Trouble
from monitor.domain.health import BillingHealth, BudgetState
from monitor.domain.model import Basis, Cost, EventKind, JobError, JobEvent, Metrics, Status
from tests.builders import HOUR, MINUTE, NOON, SECOND, event, job, measured, tracked, trained
from tests.web.site import Site, org

ORGS = (
    org("research", labels={"team": "nlp"}),
    org("search", up=False, trouble=Trouble(reason=Reason.AUTH, text="The key is refused.")),
)


async def furnish(here: Site) -> None:
    """Jobs in every status of two organisations, curves, a dead letter, costs, model shutdowns."""
    running = job(name="support-bot", started_at=NOON - 40 * MINUTE, training_file="file-1", epochs=3)
    await here.keep(
        tracked(trained(running, latest=Metrics(step=60, steps=100)), cost=Cost(basis=Basis.ESTIMATED, usd=Decimal(3))),
        tracked(job("ftjob-2", Status.QUEUED, name="triage", created_at=NOON - 5 * MINUTE)),
        tracked(job("ftjob-3", name="router-" + "W" * 64, model="gpt-4.1-2025-04-14"), stalled=True, cost=Cost(
            basis=Basis.ESTIMATED, usd=Decimal("1234.74"), low=Decimal("999.2"), high=Decimal("2345.6"))),
        failed(),
        tracked(
            job("ftjob-5", Status.SUCCEEDED, name="tone", created_at=NOON - 2 * HOUR, started_at=NOON - 110 * MINUTE,
                finished_at=NOON - HOUR, fine_tuned_model="ft:gpt-4o-mini-2024-07-18:research:tone:A1"),
            cost=Cost(basis=Basis.COMPUTED, usd=Decimal("2.4")),
        ),
        events=story(),
        told=("chat",),
    )  # fmt: skip
    await here.keep(tracked(job("ftjob-6", org="search", name="ranking")))
    (claimed, *_) = await here.store.outbox.claim("chat", owner="me", limit=1, lease=timedelta(minutes=1))
    await here.store.outbox.dead_letter(claimed, reason="no such channel")
    await here.store.costs.replace_models(
        "research", [TunedModel(org="research", id="ft:a", base="gpt-4o", shutdown=date(2026, 12, 1), listed=True)]
    )
    here.health.budgets = (BudgetState(name="everybody", limit=Decimal(10), spent=Decimal(9)),)
    refused = Trouble(reason=Reason.AUTH, text="The admin key is refused.")
    here.health.billing["research"] = BillingHealth(org="research", trouble=refused)


def failed() -> Tracked:
    """A failed job with its reason."""
    broken = job("ftjob-4", Status.FAILED, name="faq", started_at=NOON - HOUR, finished_at=NOON - MINUTE,
                 error=JobError(code="server_error", message="It broke."))  # fmt: skip
    return tracked(broken)


def story() -> tuple[JobEvent, ...]:
    """Sixty steps with a checkpoint."""
    steps = tuple(
        measured(step, at=NOON - (3600 - step) * SECOND, train_loss=2.0 / (1 + step / 10),
                 valid_loss=2.1 / (1 + step / 12) if step % 10 == 0 else None, train_accuracy=step / 100)
        for step in range(1, 61)
    )  # fmt: skip
    saved = event("ev-cp", NOON - MINUTE, "Checkpoint created at step 60", kind=EventKind.CHECKPOINT)
    return (*steps, saved)
