"""The commands for the provider's webhooks: `webhooks list`, `register` and `rotate`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from monitor.terminal.options import config_option, or_exit

T = TypeVar("T")

_org_option = click.option("--org", required=True, help="The organisation's name in the configuration.")
_url_option = click.option(
    "--url", metavar="URL", help="The endpoint's URL; by default server.external_url with /webhooks/ORG."
)


@click.group()
def webhooks() -> None:
    """Manage the webhooks by which a provider reports ends of jobs.

    The daemon receives them at /webhooks/ORG.
    """


@webhooks.command("list")
@config_option
@_org_option
def list_(file: Path, org: str) -> None:
    """List the endpoints: id, URL, event types. Exit 1 if the provider refuses, 2 if it cannot be asked."""
    from monitor.app import endpoints  # noqa: PLC0415 - imported here so that --help is fast

    found = _or_fail(file, lambda settings: endpoints.listed(settings, org))
    for each in found:
        click.echo(f"{each.id}  {each.url}  {','.join(each.event_types)}")
    if not found:
        click.echo(f"{org} has no webhook endpoints. `webhooks register` creates one.", err=True)


@webhooks.command()
@config_option
@_org_option
@_url_option
def register(file: Path, org: str, url: str | None) -> None:
    """Register URL for the ends of jobs, and print its secret.

    The provider shows the signing secret only once. Exit 1 if the provider refuses, 2 if it cannot be asked.
    """
    from monitor.app import endpoints  # noqa: PLC0415 - as above

    endpoint = _or_fail(file, lambda settings: endpoints.register(settings, org, url))
    _show_secret(endpoint, "Set this secret as the organisation's webhook_secret:")


@webhooks.command()
@config_option
@_org_option
@_url_option
def rotate(file: Path, org: str, url: str | None) -> None:
    """Get a new signing secret for URL, and print it.

    The old secret stays valid for 24 hours. Exit 1 if the provider refuses, 2 if it cannot be asked.
    """
    from monitor.app import endpoints  # noqa: PLC0415 - as above

    endpoint = _or_fail(file, lambda settings: endpoints.rotate(settings, org, url))
    _show_secret(endpoint, "List this secret before the old one in webhook_secret, and remove that after 24 hours:")


def _or_fail(file: Path, ask: Callable[[Any], T]) -> T:
    """The answer; otherwise print the reason and exit."""
    from monitor import config  # noqa: PLC0415 - as above
    from monitor.app.endpoints import CannotAsk  # noqa: PLC0415 - as above
    from monitor.providers.base import SourceError  # noqa: PLC0415 - as above

    settings = or_exit(file, lambda: config.load(file, config.environ()))
    try:
        return ask(settings)
    except CannotAsk as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except SourceError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


def _show_secret(endpoint: Any, advice: str) -> None:
    """Print only the secret on standard output, so that it can be redirected to a file."""
    if endpoint.secret is None:
        click.echo(f"Error: the provider returned no signing secret for {endpoint.id}", err=True)
        sys.exit(1)
    click.echo(f"{endpoint.id} sends to {endpoint.url}. {advice}", err=True)
    click.echo(endpoint.secret)
