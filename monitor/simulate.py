"""The `simulate` command, which serves the simulated APIs for any client."""

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
    """The options of the `simulate` command."""

    providers: tuple[str, ...]
    orgs: int
    """Number of organisations at each provider."""
    jobs: int
    """Number of past jobs of each organisation."""
    speed: float
    """How many times faster than real jobs the simulated ones run."""
    seed: int | None
    webhook_url: str | None = None
    webhook_secret: str | None = None

    def simulation(self) -> Simulation:
        """The simulation: organisations with past jobs, and with new ones over time unless `jobs` is 0."""
        made = organisations(self.orgs, seed=self.seed, providers=self.providers)
        gap = (120.0 / self.speed, 900.0 / self.speed) if self.jobs else None
        traffic = Traffic(
            history=self.jobs, under_way=min(self.jobs, 1), gap=gap, in_use=3, batches=self.jobs // 2, batch_gap=gap
        )
        seed = self.seed if self.seed is not None else made[0].id
        return Simulation(made, pace=Pace().faster(self.speed), traffic=traffic, seed=seed)

    def hook(self, simulation: Simulation, org: Org) -> dict[str, str]:
        """Register the organisation's webhook if one is wanted. Returns the configuration entries for it."""
        if self.webhook_url is None or org.provider not in SENDERS:
            return {}
        url = self.webhook_url.replace("{org}", org.name)
        return {"webhook_secret": register(simulation, org, url, self.webhook_secret).secrets[0]}


def run(options: SimulateOptions, *, listen: str, as_json: bool) -> int:
    """Serve until interrupted. Returns the exit code."""
    try:
        anyio.run(partial(_serve, options, address(listen), as_json=as_json))
    except OSError as error:
        click.echo(f"cannot start: {error.strerror}; choose another address with --listen HOST:PORT", err=True)
        return 1
    return 0


async def _serve(options: SimulateOptions, at: Address, *, as_json: bool) -> None:
    simulation = options.simulation()
    # Signals are handled before the lines are printed: a script may stop the process as soon as it has read them.
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
    """One line of text: name, provider, URL and key without labels, then the other entries with theirs."""
    rest = dict(entry)
    first = [rest.pop(name) for name in ("name", "provider", "base_url", "endpoint", "api_key") if name in rest]
    return "  ".join([*first, *(f"{name}={_text(value)}" for name, value in rest.items())])


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
