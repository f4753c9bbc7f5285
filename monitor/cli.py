"""The command line interface. Commands import what they need when they run, so that `--help` is fast."""

from __future__ import annotations

import gc
import json
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from monitor import __version__
from monitor.terminal import commands, store
from monitor.terminal.options import config_option, or_exit
from monitor.terminal.webhooks import webhooks

if TYPE_CHECKING:
    from monitor.config import LocatedIssue, Settings

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., None])

_SPEED = click.FloatRange(min=0, min_open=True)


def _address(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """Validate an address to listen on. Raises BadParameter."""
    from monitor.config import address  # noqa: PLC0415 - see the module's first line

    try:
        return str(address(text)) if text is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _providers(_context: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of simulated providers, without duplicates. Raises BadParameter."""
    from monitor.simulator import PROVIDERS  # noqa: PLC0415 - see the module's first line

    named = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in named if name not in PROVIDERS]
    if unknown or not named:
        raise click.BadParameter(f"should be one or more of {', '.join(PROVIDERS)}")
    return named


def _secret(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """Validate a signing secret for webhooks. Raises BadParameter."""
    from monitor.domain.signing import signing_key  # noqa: PLC0415 - see the module's first line

    try:
        if text is not None:
            signing_key(text, least=24)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return text


def _listen_option(default: str | None, text: str) -> Callable[[F], F]:
    return click.option(
        "--listen", metavar="HOST:PORT", default=default, show_default=True, callback=_address, help=text
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="finetune-monitor")
def main() -> None:
    """Watch fine-tuning jobs of many organisations: Prometheus metrics, Slack and webhook notifications, costs."""


@main.command()
@config_option
@_listen_option(None, "Overrides server.listen.")
@click.option("--log-format", type=click.Choice(["json", "console"]), help="Overrides log.format.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Overrides log.level.")
@click.option("--accept-older", is_flag=True, help="Accept a database that was restored from a backup.")
def run(file: Path, listen: str | None, log_format: str | None, log_level: str | None, accept_older: bool) -> None:
    """Run the daemon until SIGTERM or SIGINT. SIGHUP reads the configuration again."""
    # Until the daemon handles SIGTERM itself: for process 1 of a container, the kernel ignores the default action.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    gc.disable()  # until it runs: what is imported stays, and looking for garbage in it is an eighth of the start
    from monitor import app  # noqa: PLC0415 - see the module's first line

    read = partial(_settings, file, listen=listen, log_format=log_format, log_level=log_level)
    settings, warnings = or_exit(file, read)
    if accept_older:
        store.accept(settings.store.address())
    sys.exit(app.start(settings, warnings, read))


@main.command()
@config_option
@click.option("--online", is_flag=True, help="Also ask each provider and each notifier whether its credentials work.")
def check(file: Path, online: bool) -> None:
    """Validate a configuration, and print each problem on a line.

    Exit codes: 0 good, 1 problems, 2 unreadable.
    """
    from monitor import config  # noqa: PLC0415 - see the module's first line

    settings, warnings = or_exit(file, lambda: config.examine(file, config.environ()))
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    if online:
        from monitor.app import online as online_check  # noqa: PLC0415 - see the module's first line

        results = online_check.check(settings)
        for result in results:
            click.echo(result)
        if any(result.problem is not None for result in results):
            sys.exit(1)
    click.echo(f"{file}: good")


@main.command()
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after this many seconds.")
@click.option("--speed", type=_SPEED, default=1.0, show_default=True, help="How fast simulated jobs run.")
@_listen_option("127.0.0.1:10877", "The address of the page and the metrics.")
def demo(seconds: float | None, speed: float, listen: str) -> None:
    """Run the daemon on simulated organisations, without any key.

    Its notifications are printed in this terminal.
    """
    from monitor.demo import start  # noqa: PLC0415 - see the module's first line

    sys.exit(start(seconds=seconds, speed=speed, listen=listen))


@main.command()
@_listen_option("127.0.0.1:10878", "The address of the APIs.")
@click.option(
    "--provider",
    "providers",
    metavar="P[,P…]",
    default="openai",
    show_default=True,
    callback=_providers,
    help="Providers to simulate: openai, azure, vertex, bedrock, together, fireworks.",
)
@click.option("--orgs", type=click.IntRange(1, 100), default=3, show_default=True, help="Organisations per provider.")
@click.option(
    "--jobs", type=click.IntRange(0, 100_000), default=20, show_default=True, help="Past jobs per organisation."
)
@click.option("--speed", type=_SPEED, default=1.0, show_default=True, help="How fast simulated jobs run.")
@click.option(
    "--webhook-url", metavar="URL", help="Where openai and azure send webhooks; {org} is replaced by the name."
)
@click.option(
    "--webhook-secret",
    metavar="whsec_…",
    callback=_secret,
    help="The secret that signs webhooks; by default each organisation has its own.",
)
@click.option("--seed", type=int, help="Create the same keys and jobs for the same seed.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print each organisation as an entry of the configuration, in JSON."
)
def simulate(listen: str, as_json: bool, **options: Any) -> None:
    """Serve simulated fine-tuning APIs for any client.

    Prints a line for each organisation: name, provider, base URL, key, and what else its configuration needs.
    """
    from monitor.simulate import SimulateOptions, run  # noqa: PLC0415 - see the module's first line

    sys.exit(run(SimulateOptions(**options), listen=listen, as_json=as_json))


@main.command()
@click.argument("file")
@click.option("--model", required=True, help="The model to tune: a base model, snapshot or alias, or an `ft:` model.")
@click.option("--epochs", type=click.IntRange(1, 50), help="The number of epochs; by default what `auto` probably is.")
@click.option(
    "--method",
    type=click.Choice(["supervised", "dpo", "reinforcement"]),
    help="The training method; by default that of the model or of the file's format.",
)
@click.option(
    "--provider",
    type=click.Choice(["openai", "azure", "together", "fireworks", "vertex", "bedrock"]),
    default="openai",
    show_default=True,
    help="The provider whose rules the file is checked against.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with all bad lines and warnings.")
def estimate(file: str, model: str, epochs: int | None, method: str | None, provider: str, as_json: bool) -> None:
    """Check a training FILE and estimate the cost of training on it.

    FILE is JSONL; - is standard input. Exit codes: 0 good (perhaps with warnings), 1 bad lines, 2 unreadable or not
    trainable.
    """
    from monitor.clock import SystemClock  # noqa: PLC0415 - see the module's first line
    from monitor.domain.model import Method  # noqa: PLC0415 - see the module's first line
    from monitor.estimate.command import run  # noqa: PLC0415 - see the module's first line
    from monitor.estimate.quote import EstimateRequest  # noqa: PLC0415 - see the module's first line

    request = EstimateRequest(
        model=model.strip(), provider=provider, epochs=epochs, method=Method(method) if method else None
    )
    sys.exit(run(file, request, json=as_json, today=SystemClock().now().date()))


for _command in (*commands.ALL, store.backup, store.store, webhooks):
    main.add_command(_command)


@main.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from monitor import config  # noqa: PLC0415 - see the module's first line

    click.echo(json.dumps(config.schema(), indent=2))


def _settings(
    file: Path, *, listen: str | None, log_format: str | None, log_level: str | None
) -> tuple[Settings, tuple[LocatedIssue, ...]]:
    """The current configuration with the overrides of the command line. Raises ConfigError and OSError."""
    from monitor import config  # noqa: PLC0415 - see the module's first line

    settings, warnings = config.examine(file, config.environ())
    return config.overridden(settings, listen=listen, log_format=log_format, log_level=log_level), warnings
