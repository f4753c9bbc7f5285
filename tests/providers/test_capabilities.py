"""The table of providers says what the code can do."""

from __future__ import annotations

from typing import get_args

from monitor.providers import OrganizationSettings
from tests.providers.capabilities import PAGE, shown, table, vendors


def test_the_table_of_providers_is_made_from_the_code() -> None:
    assert shown() == table(), "python -m tests.providers.capabilities writes it"


def test_every_provider_is_in_it_and_has_a_page() -> None:
    union, _ = get_args(OrganizationSettings)
    providers = {get_args(each.model_fields["provider"].annotation)[0] for each in get_args(union)}
    assert {of.name for of in vendors()} == providers
    assert {path.stem for path in (PAGE.parent / "providers").glob("*.md")} == providers
