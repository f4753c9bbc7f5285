"""Scrapes for tests: a snapshot rendered and read back by the official parsers."""

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
    """Organisations that were never asked, `research` by default."""
    given = labels or {}
    return Health(
        orgs={org: OrgHealth(org=org, provider="openai", labels=given.get(org, {})) for org in orgs or ("research",)},
        notifiers=notifiers,
    )


def snapshot(*jobs: Any, **over: Any) -> Snapshot:
    """A snapshot of noon."""
    return Snapshot(at=NOON, jobs=jobs, **over)


def counter(metric: str, amount: int = 1, **labels: str) -> CounterIncrement:
    """One stored counter of `research`."""
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
    """The body of a scrape, by default the first one."""
    asked, _ = parse_scrape_request(accept, compressed=False, names=names)
    process = process or ProcessMetrics(version="1.2.3")
    return b"".join((exposition or Exposition()).scrape(of, state or health(), process, asked)).decode()


def scrape(of: Snapshot, **over: Any) -> Series:
    """The series of a scrape by name and labels. No series may be there twice."""
    return series(text(of, **over))


def series(exposition: str) -> Series:
    """What a Prometheus server would read. Both formats are told apart by OpenMetrics' last line."""
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
    """One series of the process' own, None where there is none."""
    return scrape(snapshot(), process=process, names=[name]).get(name, {}).get(of(**labels))


def of(**labels: str) -> Labels:
    """Labels to look a series up by."""
    return frozenset(labels.items())


def busy() -> Job:
    """A job of which everything is known."""
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
