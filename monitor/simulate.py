"""The simulated APIs alone, for any client: `finetune-monitor simulate`."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import click

from monitor.config import Address, address
from monitor.simulator import SENDERS, Org, Pace, Simulation, Traffic, configuration, organisations, register, serve


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
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


def run(options: SimulateOptions, *, listen: str, as_json: bool) -> int:
    """Serve until interrupted. The exit code."""
    try:
        anyio.run(partial(_serve, options, address(listen), as_json=as_json))
    except OSError as error:
        click.echo(f"cannot start: {error.strerror}; choose another with --listen HOST:PORT", err=True)
        return 1
    return 0


async def _serve(options: SimulateOptions, at: Address, *, as_json: bool) -> None:
    simulation = options.simulation()
    # The signals before the lines: who has read them may end it at once.
    with (
        TemporaryDirectory(prefix="finetune-monitor-simulate-") as folder,
        anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
    ):
        async with serve(simulation, at.host, at.port) as base_url:
            for org in simulation.orgs:
                entry = {**configuration(org, base_url, Path(folder)), **options.hook(simulation, org)}
                click.echo(json.dumps(entry) if as_json else _line(entry))
            async for _ in signals:
                return


def _line(entry: dict[str, Any]) -> str:
    """Name, provider, address and key, if there is one, and the rest by name."""
    rest = dict(entry)
    first = [rest.pop(name) for name in ("name", "provider", "base_url", "endpoint", "api_key") if name in rest]
    return "  ".join([*first, *(f"{name}={_text(value)}" for name, value in rest.items())])


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
