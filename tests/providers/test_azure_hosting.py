"""The deployments of an Azure resource, as Resource Manager lists them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.hosting import Deployment
from monitor.providers.base import AuthFailed, Deployments, Malformed, Page
from tests.providers.answers import response
from tests.providers.test_vendors import vendor

TUNED = "gpt-4.1-2025-04-14.ft-0123456789abcdef0123456789abcdef"
HOSTING = {"subscription_id": "0-1", "resource_group": "ml(eu)", "account": "acme", "token_file": "/t"}
ENTRA = {"tenant_id": "t", "client_id": "c", "client_secret": "s"}
AT = datetime(2026, 11, 1, 12, tzinfo=UTC)


def listed(name: str = "d", model: Any = TUNED, kind: Any = "Standard", **over: Any) -> dict[str, Any]:
    """In the shape of the example ListDeployments of azure-rest-api-specs (2024-10-01)."""
    return {
        "name": name,
        "type": "Microsoft.CognitiveServices/accounts/deployments",
        "sku": {"name": kind, "capacity": 1},
        "properties": {"model": {"name": model, "format": "OpenAI", "version": "1"}, "provisioningState": "Succeeded"},
        "systemData": {"createdAt": "2026-11-01T12:00:00.0000000Z"},
        **over,
    }


def deployments(**over: Any) -> Deployments:
    found = vendor("azure", hosting={**HOSTING, **over}).deployments
    assert found is not None
    return found


def read(*items: Any, status: int = 200, **over: Any) -> Page[Deployment]:
    of = deployments().all
    return of.read(of.first, response({"value": list(items), **over}, status=status))


@pytest.mark.parametrize(
    ("item", "charged"),
    [
        pytest.param(listed(), True, id="a tuned model"),
        pytest.param(listed(kind="GlobalStandard"), True, id="global"),
        pytest.param(listed(kind="DataZoneStandard"), True, id="of a data zone"),
        pytest.param(listed(kind="DeveloperTier"), False, id="free, for a day"),
        pytest.param(listed(kind="ProvisionedManaged"), False, id="sold by capacity"),
        pytest.param(listed(kind=None), False, id="of no kind"),
        pytest.param(listed(model="gpt-4.1"), False, id="a base model"),
        pytest.param(
            listed(properties={"model": {"name": TUNED}, "provisioningState": "Creating"}), False, id="not there yet"
        ),
    ],
)
def test_tuned_models_are_charged_by_the_hour(item: dict[str, Any], charged: bool) -> None:
    [found] = read(item).items
    assert (found.id, found.created_at) == ("d", AT)
    assert found.usd_per_hour == (Decimal("1.70") if charged else None)


def test_what_is_no_deployment_hides_no_other() -> None:
    page = read(listed(), listed(name=""), listed(model=None), {"name": "x"}, "x", listed(name="e", systemData=None))
    assert [(one.name, one.created_at) for one in page.items] == [("d", AT), ("e", None)]
    assert sum(page.skipped.values()) == 4


def test_pages_are_followed_to_the_same_host_alone() -> None:
    of = deployments()
    assert of.all.first.path == (
        "/subscriptions/0-1/resourceGroups/ml%28eu%29/providers/Microsoft.CognitiveServices/accounts/acme/deployments"
    )
    ours = read(listed(), nextLink="https://management.azure.com/x?api-version=2024-10-01&$skiptoken=2")
    assert ours.next is not None
    assert ours.next.path.endswith("$skiptoken=2")
    assert read(listed(), nextLink=None).next is None
    for elsewhere in ("https://management.azure.com.evil.example/x", "http://management.azure.com/x", 7):
        page = read(listed(), nextLink=elsewhere)
        assert (page.next, page.stuck) == (None, True)


def test_refusals_are_classified() -> None:
    with pytest.raises(AuthFailed):
        read(status=403)
    with pytest.raises(Malformed):
        read(status=404)
    with pytest.raises(Malformed):
        deployments().all.read(deployments().all.first, response({"data": []}))


def test_the_price_and_the_host_are_the_operators() -> None:
    of = deployments(dollars_per_hour=3, base_url="https://management.usgovcloudapi.net")
    assert of.base_url == "https://management.usgovcloudapi.net"
    [found] = of.all.read(of.all.first, response({"value": [listed()]})).items
    assert found.usd_per_hour == 3


def test_entra_asks_for_a_token_of_resource_manager() -> None:
    hosting = {name: value for name, value in HOSTING.items() if name != "token_file"}
    of = vendor("azure", api_key=None, entra=ENTRA, hosting=hosting).deployments
    assert of is not None
    grant = of.auth.grant({"client_secret": "s"}, AT)
    assert grant is not None
    assert b"scope=https%3A%2F%2Fmanagement.azure.com%2F.default" in grant.request.body
    own = vendor("azure", api_key=None, entra=ENTRA, hosting=HOSTING).deployments
    assert own is not None
    assert own.auth.secrets == ("hosting_token",)


def test_a_key_alone_opens_no_resource_manager() -> None:
    hosting = {name: value for name, value in HOSTING.items() if name != "token_file"}
    with pytest.raises(ValueError, match="hosting needs entra"):
        vendor("azure", hosting=hosting)
    assert vendor("azure").deployments is None
