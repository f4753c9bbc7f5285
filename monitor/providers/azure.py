"""Azure OpenAI (Microsoft Foundry): OpenAI's API at a resource's dated or v1 addresses, with a key or Entra ID.

learn.microsoft.com/azure/ai-foundry/openai. The statuses are those of azure-rest-api-specs 2024-10-21 and of azd.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Literal
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from monitor.domain.hosting import Deployment
from monitor.domain.model import JobKind
from monitor.providers._json import Object, Parsed, Skip, parse_items, raw_page
from monitor.providers._oauth import token_call
from monitor.providers._refusals import refusal
from monitor.providers._settings import BaseUrl
from monitor.providers._values import moment, sub, text
from monitor.providers.base import (
    Auth,
    Call,
    Deployments,
    KeyAuth,
    Listing,
    Page,
    Provider,
    Request,
    Response,
    Token,
    TokenAuth,
)
from monitor.providers.openai.calls import FILES, checkpoints, events, job_lists
from monitor.providers.openai.jobs import Origin
from monitor.providers.openai.models import MODELS
from monitor.providers.openai.naming import NAMING
from monitor.providers.openai.push import PushedOrganization, push

_SCOPE: Final = "https://ai.azure.com/.default"
_AUTHORITY: Final = "https://login.microsoftonline.com"
_HOSTS: Final = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
_WEBHOOKS: Final = "/dashboard/webhook_endpoints"  # only v1 addresses have it
_ID: Final = r"^[A-Za-z0-9._-]{1,128}$"
_GROUP: Final = r"^[A-Za-z0-9_().-]{1,90}$"
_MANAGEMENT: Final = "https://management.azure.com"
_MANAGEMENT_VERSION: Final = "2024-10-01"
# Developer deployments are free, and provisioned ones are sold by capacity.
_BY_THE_HOUR: Final = frozenset({"standard", "globalstandard", "datazonestandard"})


class EntraSettings(BaseModel):
    """The client credentials of an Entra ID application that may read the resource."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, hide_input_in_errors=True)

    required_secrets: ClassVar[tuple[str, ...]] = ("client_secret",)

    tenant_id: str = Field(pattern=_ID)
    """The Entra ID tenant (directory)."""
    client_id: str = Field(pattern=_ID)
    """The application (client) id."""
    client_secret: SecretStr | None = None
    """The client secret of the application."""
    client_secret_file: Path | None = None
    """A file with the client secret, re-read when it changes."""
    authority: BaseUrl = _AUTHORITY
    """The authority that issues tokens; another one for other clouds."""
    scope: str = Field(default=_SCOPE, min_length=1, max_length=256)
    """The OAuth scope that is requested."""


class HostingSettings(BaseModel):
    """The resource in Azure Resource Manager whose deployments of fine-tuned models are charged by the hour."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, hide_input_in_errors=True)

    subscription_id: str = Field(pattern=_ID)
    """The subscription."""
    resource_group: str = Field(pattern=_GROUP)
    """The resource group."""
    account: str = Field(pattern=_ID)
    """The name of the resource."""
    dollars_per_hour: Decimal = Field(default=Decimal("1.70"), ge=0, le=10_000)
    """The price of a deployed fine-tuned model per hour, in US dollars."""
    token_file: Path | None = None
    """A file with an access token for Resource Manager that another program keeps fresh; by default, `entra`."""
    base_url: BaseUrl = _MANAGEMENT
    """The address of Resource Manager; another one for other clouds."""


class AzureSettings(PushedOrganization):
    """A resource of Azure OpenAI, or a project of Foundry."""

    families: ClassVar[frozenset[JobKind]] = frozenset(JobKind)

    provider: Literal["azure"]
    """Azure OpenAI."""
    base_url: BaseUrl | None = None
    """The v1 address: `https://RESOURCE.openai.azure.com/openai/v1`."""
    endpoint: BaseUrl | None = None
    """For dated addresses instead: the resource, `https://RESOURCE.openai.azure.com`."""
    api_version: str | None = Field(default=None, pattern=r"^[0-9a-z-]{1,32}$")
    """The API version of the dated addresses, such as `2025-04-01-preview`."""
    api_key: SecretStr | None = None
    """A key of the resource."""
    api_key_file: Path | None = None
    """A file with the key, re-read when it changes."""
    entra: EntraSettings | None = None
    """Instead of a key: an application of Entra ID."""
    token_file: Path | None = None
    """Instead of a key: a file with an access token that another program keeps fresh."""
    hosting: HostingSettings | None = None
    """Where deployments of fine-tuned models are listed, to compute the cost of hosting them."""

    @model_validator(mode="after")
    def _check_alternatives(self) -> AzureSettings:
        if (self.base_url is None) == (self.endpoint is None):
            raise ValueError("give either base_url (v1) or endpoint and api_version (dated)")
        if (self.endpoint is None) != (self.api_version is None):
            raise ValueError("endpoint and api_version belong together")
        ways = (self.api_key or self.api_key_file, self.entra, self.token_file)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("give one of api_key, entra and token_file")
        if self.hosting is not None and self.entra is None and self.hosting.token_file is None:
            raise ValueError("hosting needs entra, or a token_file of its own: Resource Manager accepts no key")
        return self

    def credentials(self) -> Mapping[str, tuple[str | None, Path | None]]:
        """The configured secrets by setting name; with Entra ID, the client secret among them."""
        secret = self.entra.client_secret if self.entra is not None else None
        path = self.entra.client_secret_file if self.entra is not None else None
        own = super().credentials()
        if self.hosting is not None and self.hosting.token_file is not None:
            own = {**own, "hosting_token": (None, self.hosting.token_file)}
        if self.entra is None:
            return own
        return {**own, "client_secret": (secret.get_secret_value() if secret is not None else None, path)}

    def vendor(self) -> Provider:
        """Build the provider for this resource."""
        base_url = self.base_url or f"{self.endpoint}/openai"
        ours = (urlsplit(base_url).hostname or "").endswith(_HOSTS)
        return Provider(
            name="azure",
            base_url=base_url,
            auth=self._auth(),
            query={} if self.api_version is None else {"api-version": self.api_version},
            jobs=job_lists(Origin(org=self.name, provider="azure", failed_is_free=True), self.watch),
            events=partial(events, self.name),
            checkpoints=checkpoints,
            files=FILES,
            models=MODELS,
            push=push(_WEBHOOKS if self.api_version is None else None, rotates=False, watch=self.watch),
            deployments=self._deployments(),
            naming=NAMING,
            seller="azure" if ours else None,
        )

    def _deployments(self) -> Deployments | None:
        hosting = self.hosting
        if hosting is None:
            return None
        auth: Auth = KeyAuth(secret="hosting_token")  # noqa: S106 - the name of a setting
        if self.entra is not None and hosting.token_file is None:
            entra = self.entra.model_copy(update={"scope": f"{hosting.base_url}/.default"})
            auth = TokenAuth(secrets=("client_secret",), exchange=partial(_exchange, entra))
        path = "/".join(
            (
                "",
                *("subscriptions", quote(hosting.subscription_id, safe="")),
                *("resourceGroups", quote(hosting.resource_group, safe="")),
                *("providers", "Microsoft.CognitiveServices"),
                *("accounts", quote(hosting.account, safe="")),
                "deployments",
            )
        )
        first = Request(operation="list_deployments", path=path, params=(("api-version", _MANAGEMENT_VERSION),))
        return Deployments(
            base_url=hosting.base_url,
            auth=auth,
            all=Listing(first=first, read=partial(_read_deployments, hosting)),
        )

    def _auth(self) -> Auth:
        if self.entra is not None:
            return TokenAuth(secrets=("client_secret",), exchange=partial(_exchange, self.entra))
        if self.token_file is not None:
            return KeyAuth(secret="token")  # noqa: S106 - the name of a setting
        return KeyAuth(header="api-key", prefix="")


def _exchange(entra: EntraSettings, secrets: Mapping[str, str], _now: datetime) -> Call[Token]:
    return token_call(
        f"{entra.authority}/{quote(entra.tenant_id, safe='')}/oauth2/v2.0/token",
        {
            "grant_type": "client_credentials",
            "client_id": entra.client_id,
            "client_secret": secrets["client_secret"],
            "scope": entra.scope,
        },
    )


def _read_deployments(hosting: HostingSettings, _request: Request, response: Response) -> Page[Deployment]:
    """Parse a list of Resource Manager; `nextLink` is followed only to its own address.

    learn.microsoft.com/rest/api/aiservices/accountmanagement/deployments/list
    """
    if (error := refusal(response, one=False)) is not None:
        raise error
    page = raw_page(response, "value")
    items, skipped = parse_items(page, partial(_parse_deployment, hosting.dollars_per_hour))
    following = page.envelope.get("nextLink")
    if not following:
        return Page(items=items, skipped=skipped)
    ours = isinstance(following, str) and following.startswith(f"{hosting.base_url}/")
    more = Request(operation="list_deployments", path=following) if ours else None
    return Page(items=items, next=more, stuck=more is None, skipped=skipped)


def _parse_deployment(usd_per_hour: Decimal, item: Object) -> Parsed[Deployment] | Skip:
    name, model = text(item.get("name"), 128), text(sub(item.get("properties"), "model", "name"), 256)
    if name is None or model is None:
        return "bad_id"
    kind, state = text(sub(item.get("sku"), "name"), 64), text(sub(item.get("properties"), "provisioningState"), 64)
    charged = NAMING.is_tuned(model) and (kind or "").lower() in _BY_THE_HOUR and (state or "").lower() == "succeeded"
    deployment = Deployment(
        name=name,
        model=model,
        created_at=moment(sub(item.get("systemData"), "createdAt")),
        usd_per_hour=usd_per_hour if charged else None,
    )
    return Parsed(deployment)
