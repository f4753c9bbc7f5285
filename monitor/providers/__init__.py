"""One module per provider: its settings, the requests its API offers, and how its answers are parsed. No I/O."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from monitor.providers._settings import SELECTING, canonical
from monitor.providers.azure import AzureSettings
from monitor.providers.bedrock import BedrockSettings
from monitor.providers.fireworks import FireworksSettings
from monitor.providers.openai import OpenAISettings
from monitor.providers.openai.billing import line_item_kind
from monitor.providers.together import TogetherSettings
from monitor.providers.vertex import VertexSettings

OrganizationSettings = Annotated[
    OpenAISettings | AzureSettings | TogetherSettings | FireworksSettings | VertexSettings | BedrockSettings,
    Field(discriminator="provider"),
]
"""The settings of one organisation, discriminated by `provider`. A new provider is added to this union."""

__all__ = [
    "SELECTING",
    "AzureSettings",
    "BedrockSettings",
    "FireworksSettings",
    "OpenAISettings",
    "OrganizationSettings",
    "TogetherSettings",
    "VertexSettings",
    "canonical",
    "line_item_kind",
]
