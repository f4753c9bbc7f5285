"""The `demo` command: the daemon with simulated organisations, and notifications in the terminal."""

from __future__ import annotations

import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio
import click

from monitor import app, log
from monitor.clock import SystemClock
from monitor.config import Settings, settings_from
from monitor.secret import Redactor
from monitor.simulator import Org, Pace, Simulation, Traffic, configuration, organisations, serve

# Durations in seconds, so short that a job takes seconds. The daemon itself runs by the real clock.
_BRISK: Final = Pace(
    validation=(0.5, 1.5),
    queue=(0.5, 3.0),
    step=(0.04, 0.1),
    reinforcement_step=(0.05, 0.1),
    silence=(15.0, 20.0),
    evaluation=(0.3, 1.0),
    announcement=(0.5, 1.0),
    request=(0.02, 0.1),
    finalizing=(0.5, 1.5),
    window=(25.0, 25.0),
    steps=60,
    reported=1500.0,
    unpriced=0.0,
)
_PROVIDERS: Final = ("openai", "azure", "together")
"""The simulated providers, with one organisation each."""
_ENDING: Final = "gpt-4.1-mini-2025-04-14"
"""A base model that is shut down soon, so that the demo shows a warning."""
_ENDS_IN: Final = timedelta(days=20)
_SELLERS: Final = {"azure": "openai"}
"""The seller whose published prices apply, for providers without any, so that every job has a cost."""
_PRICED: Final = frozenset({"supervised", "dpo"})
"""The methods of past jobs. A job that is billed by the hour has no cost if it ended before it was first seen."""
_EVENT_TYPES: Final = [
    "started", "paused", "resumed", "succeeded", "failed", "cancelled", "stalled", "moving", "org_down", "org_up",
]  # fmt: skip
_LATER: Final = "20s"
"""The `group_wait` of what is known at the start: shutdowns and spent budgets are announced after the first jobs."""
_BY_MAKE: Final = ' (make demo ARGS="--listen HOST:PORT")'


def start(*, seconds: float | None, speed: float, listen: str) -> int:
    """Run the demo for `seconds`, or until it is interrupted. Returns the exit code."""
    redactor = Redactor()
    log.configure(level="warning", format="console", redactor=redactor, stream=sys.stderr)
    return app.exit_code(partial(_demo, seconds=seconds, speed=speed, listen=listen, redactor=redactor), _cannot_start)


async def _demo(*, seconds: float | None, speed: float, listen: str, redactor: Redactor) -> None:
    gap = (1.5 / speed, 5.0 / speed)
    batches = (4 * gap[0], 4 * gap[1])
    traffic = Traffic(history=24, methods=_PRICED, under_way=1, gap=gap, in_use=2, batches=4, batch_gap=batches)
    shutdowns = {_ENDING: (SystemClock().now() + _ENDS_IN).date().isoformat()}
    made = organisations(1, providers=_PROVIDERS)
    simulation = Simulation(made, pace=_BRISK.faster(speed), traffic=traffic, shutdowns=shutdowns)
    with TemporaryDirectory(prefix="finetune-monitor-demo-") as folder:
        async with serve(simulation) as base_url:
            settings = settings_from(_tree(simulation.orgs, base_url, Path(folder), listen=listen, speed=speed))
            with anyio.move_on_after(seconds):
                await app.run(
                    settings, read_again=lambda: (settings, ()), redactor=redactor, listening=partial(_greet, settings)
                )
    click.echo("The demo has ended.")


def _tree(orgs: tuple[Org, ...], base_url: str, folder: Path, *, listen: str, speed: float) -> dict[str, Any]:
    """A configuration like a user's, with intervals that suit jobs that take seconds."""
    return {
        "organizations": [
            {**configuration(org, base_url, folder), "labels": {"team": org.name}, "watch": _watched(org)}
            for org in orgs
        ],
        "poll": {
            "interval": "500ms",
            "idle_interval": "1s",
            "events_interval": "1s",
            "costs_interval": "2s",
            "models_interval": "5s",
            "max_requests_per_second": 50,
        },
        "stall": {"running": f"{max(int(6000 / speed), 100)}ms"},
        "store": {"url": f"sqlite:///{folder / 'monitor.db'}"},
        "server": {"listen": listen, "enable_lifecycle": True},  # so that every command can be tried
        "notifiers": [{"name": "terminal", "type": "console"}],
        "routes": [
            {"on": _EVENT_TYPES, "notify": ["terminal"]},
            {"on": ["shutdown"], "notify": ["terminal"], "group_wait": _LATER},
            {"on": ["budget"], "notify": ["terminal"], "group_wait": _LATER},
        ],
        "pricing": [{"org": org.name, "like": _SELLERS.get(org.provider, org.provider)} for org in orgs],
        "budgets": [
            {"name": f"{orgs[0].name}-today", "match": {"org": [orgs[0].name]}, "amount": 250, "period": "day"},
            {"name": "everybody", "amount": 2000, "include_usage": True},
        ],
    }


def _watched(org: Org) -> list[str]:
    """The kinds of jobs to watch: Together has no list of batches."""
    return ["fine_tuning"] if org.provider == "together" else ["fine_tuning", "batch"]


def _greet(settings: Settings, address: str) -> None:
    names = ", ".join(f"{org.name} ({org.provider})" for org in settings.organizations)
    click.echo(f"The page is      {address}/")
    click.echo(f"The metrics are  {address}/metrics")
    click.echo(f"Watching simulated organisations whose jobs take seconds: {names}. Press Ctrl-C to stop.\n")


def _cannot_start(errors: str) -> None:
    by_make = _BY_MAKE if errors.endswith(app.OTHER_ADDRESS) else ""
    click.echo(f"cannot start: {errors}{by_make}", err=True)
