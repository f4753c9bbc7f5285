"""Renders scrapes of a snapshot, and parses them with the official parsers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from monitor.domain.flow import CounterIncrement
from monitor.domain.health import Health, OrgHealth
from monitor.domain.model import Job, Metrics
from monitor.domain.snapshot import Snapshot
from monitor.metrics.exposition import Exposition, parse_scrape_request
from monitor.metrics.process import ProcessMetrics
from tests.builders import HOUR, MINUTE, NOON, job, trained

Labels = frozenset[tuple[str, str]]
Series = dict[str, dict[Labels, float]]

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def health(*orgs: str, labels: dict[str, dict[str, str]] | None = None, notifiers: tuple[str, ...] = ()) -> Health:
    """The health of organisations that were not polled yet, by default of `research`."""
    given = labels or {}
    return Health(
        orgs={org: OrgHealth(org=org, provider="openai", labels=given.get(org, {})) for org in orgs or ("research",)},
        notifiers=notifiers,
    )


def snapshot(*jobs: Any, **over: Any) -> Snapshot:
    """A snapshot at noon."""
    return Snapshot(at=NOON, jobs=jobs, **over)


def counter(metric: str, amount: int = 1, **labels: str) -> CounterIncrement:
    """A stored counter of `research`."""
    return CounterIncrement(metric=metric, labels=tuple({"org": "research", **labels}.items()), amount=amount)


def text(
    of: Snapshot,
    *,
    state: Health | None = None,
    process: ProcessMetrics | None = None,
    accept: str = "",
    names: Sequence[str] = (),
    exposition: Exposition | None = None,
) -> str:
    """The body of a scrape, by default of a new exposition."""
    asked, _ = parse_scrape_request(accept, compressed=False, names=names)
    process = process or ProcessMetrics(version="1.2.3")
    return b"".join((exposition or Exposition()).scrape(of, state or health(), process, asked)).decode()


def scrape(of: Snapshot, **over: Any) -> Series:
    """The series of a scrape by name and labels, of which none may occur twice."""
    return series(text(of, **over))


def series(exposition: str) -> Series:
    """The series as a Prometheus server parses them. OpenMetrics is recognised by its last line."""
    is_openmetrics = exposition.endswith("# EOF\n")
    parse: Any = openmetrics.text_string_to_metric_families if is_openmetrics else text_string_to_metric_families
    found: Series = {}
    for family in parse(exposition):
        for sample in family.samples:
            key = frozenset(sample.labels.items())
            assert key not in found.setdefault(sample.name, {}), f"{sample.name} {sample.labels} is there twice"
            found[sample.name][key] = sample.value
    return found


def value(process: ProcessMetrics, name: str, labels: dict[str, str]) -> float | None:
    """The value of a series of prometheus_client's registry; None where it is missing."""
    return scrape(snapshot(), process=process, names=[name]).get(name, {}).get(of(**labels))


def of(**labels: str) -> Labels:
    """The labels of a series, as a key."""
    return frozenset(labels.items())


def busy() -> Job:
    """A job with all fields set."""
    latest = Metrics(
        step=42,
        steps=100,
        train_loss=0.7,
        valid_loss=0.8,
        train_accuracy=0.9,
        valid_accuracy=0.85,
        train_reward=1.5,
        valid_reward=1.25,
    )
    return trained(
        job(started_at=NOON - 30 * MINUTE, estimated_finish=NOON + HOUR, name="support", trained_tokens=1234),
        latest=latest,
    )
