"""The vendors: their settings, what can be asked of them, and what the answers mean. No I/O."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from monitor.providers.openai import OpenAISettings

OrganizationSettings = Annotated[OpenAISettings, Field(discriminator="provider")]
"""One organisation's settings, told apart by `provider`; a new provider joins here."""

__all__ = ["OpenAISettings", "OrganizationSettings"]
