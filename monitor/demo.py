"""The program at work without an account: simulated organisations, the daemon, notifications in the terminal."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio
import click

from monitor import app, log
from monitor.clock import SystemClock
from monitor.config import Settings, address, settings_from
from monitor.secret import Redactor
from monitor.simulator import SENDERS, Org, Pace, Simulation, Traffic, configuration, organisations, register, serve

# A job takes seconds here. Everything else is as it would be, and the daemon's clock is the real one.
_BRISK: Final = Pace(
    validation=(0.5, 1.5),
    queue=(0.5, 3.0),
    step=(0.04, 0.1),
    reinforcement_step=(0.05, 0.1),
    evaluation=(0.3, 1.0),
    announcement=(0.5, 1.0),
    steps=60,
    told=1500.0,
)
_ENDING: Final = "gpt-4.1-mini-2025-04-14"
_ENDS_IN: Final = timedelta(days=20)
"""From today, so that what warns of shutdowns has something to warn of whenever the demo is started."""
_TOLD: Final = [
    "started", "paused", "resumed", "succeeded", "failed", "cancelled", "stalled", "budget", "shutdown",
    "org_down", "org_up",
]  # fmt: skip


def start(*, seconds: float | None, speed: float, listen: str) -> int:
    """Run the demo for some seconds, or until interrupted. The exit code."""
    redactor = Redactor()
    log.configure(level="warning", format="console", redactor=redactor, stream=sys.stderr)
    return app.exit_code(partial(_demo, seconds=seconds, speed=speed, listen=listen, redactor=redactor), _cannot_start)


@dataclass(frozen=True, kw_only=True)
class Scenery:
    """What `simulate` is to simulate."""

    providers: tuple[str, ...]
    orgs: int
    """Organisations at each provider."""
    jobs: int
    """Past jobs of each organisation."""
    speed: float
    seed: int | None
    webhook_url: str | None = None
    webhook_secret: str | None = None

    def simulation(self) -> Simulation:
        """Organisations with a past, and with jobs to come unless there are to be none."""
        made = organisations(self.orgs, seed=self.seed, providers=self.providers)
        gap = (120.0 / self.speed, 900.0 / self.speed) if self.jobs else None
        traffic = Traffic(
            history=self.jobs, under_way=min(self.jobs, 1), gap=gap, in_use=3, batches=self.jobs // 2, batch_gap=gap
        )
        seed = self.seed if self.seed is not None else made[0].id
        return Simulation(made, pace=Pace().faster(self.speed), traffic=traffic, seed=seed)

    def hook(self, simulation: Simulation, org: Org) -> dict[str, str]:
        """Have the organisation's provider send webhooks, if it is to; what the configuration needs for it."""
        if self.webhook_url is None or org.provider not in SENDERS:
            return {}
        url = self.webhook_url.replace("{org}", org.name)
        return {"webhook_secret": register(simulation, org, url, self.webhook_secret).secrets[0]}


def simulate(scenery: Scenery, *, listen: str, as_json: bool) -> int:
    """Serve simulated APIs until interrupted. The exit code."""
    return app.exit_code(partial(_simulate, scenery, listen=listen, as_json=as_json), _cannot_start)


async def _demo(*, seconds: float | None, speed: float, listen: str, redactor: Redactor) -> None:
    traffic = Traffic(history=12, under_way=1, gap=(1.5 / speed, 5.0 / speed), in_use=2)
    shutdowns = {_ENDING: (SystemClock().now() + _ENDS_IN).date().isoformat()}
    simulation = Simulation(organisations(3), pace=_BRISK.faster(speed), traffic=traffic, shutdowns=shutdowns)
    with TemporaryDirectory(prefix="finetune-monitor-demo-") as folder:
        async with serve(simulation) as base_url:
            settings = settings_from(_tree(simulation.orgs, base_url, Path(folder), listen=listen, speed=speed))
            with anyio.move_on_after(seconds):
                await app.run(
                    settings, read_again=lambda: (settings, ()), redactor=redactor, listening=partial(_greet, settings)
                )
    click.echo("The demo is over.")


def _tree(orgs: tuple[Org, ...], base_url: str, folder: Path, *, listen: str, speed: float) -> dict[str, Any]:
    """A configuration like a user's, with intervals that suit jobs of seconds."""
    return {
        "organizations": [
            {
                "name": org.name,
                "provider": "openai",
                "base_url": base_url,
                "api_key": org.key,
                "admin_key": org.admin_key,
                "organization": org.id,
                "labels": {"team": org.name},
            }
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
        "server": {"listen": listen},
        "notifiers": [{"name": "terminal", "type": "console"}],
        "routes": [{"on": _TOLD, "notify": ["terminal"]}],
        "budgets": [
            {"name": f"{orgs[0].name}-today", "match": {"org": [orgs[0].name]}, "amount": 100, "period": "day"},
            {"name": "everybody", "amount": 1000, "include_usage": True},
        ],
    }


def _greet(settings: Settings, address: str) -> None:
    names = ", ".join(org.name for org in settings.organizations)
    click.echo(f"The page is      {address}/")
    click.echo(f"The metrics are  {address}/metrics")
    click.echo(f"Watching {names}: simulated organisations, whose jobs take seconds. Ctrl-C ends it.\n")


async def _simulate(scenery: Scenery, *, listen: str, as_json: bool) -> None:
    at, simulation = address(listen), scenery.simulation()
    with TemporaryDirectory(prefix="finetune-monitor-simulate-") as folder:
        async with serve(simulation, at.host, at.port) as base_url:
            for org in simulation.orgs:
                entry = {**configuration(org, base_url, Path(folder)), **scenery.hook(simulation, org)}
                click.echo(json.dumps(entry) if as_json else _line(entry))
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    return


def _line(entry: dict[str, Any]) -> str:
    """Name, provider, address and key, if there is one, and the rest by name."""
    rest = dict(entry)
    first = [rest.pop(name) for name in ("name", "provider", "base_url", "endpoint", "api_key") if name in rest]
    return "  ".join([*first, *(f"{name}={_text(value)}" for name, value in rest.items())])


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def _cannot_start(errors: str) -> None:
    click.echo(f"cannot start: {errors}", err=True)
