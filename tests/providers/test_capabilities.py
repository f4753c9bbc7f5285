"""The table of providers in the documentation equals what the code supports."""

from __future__ import annotations

from typing import get_args

from monitor.cli import main
from monitor.config.settings import SellerRule
from monitor.providers import OrganizationSettings
from tests.providers.capabilities import PAGE, shown, table, vendors


def test_the_table_of_providers_is_made_from_the_code() -> None:
    assert shown() == table(), "python -m tests.providers.capabilities writes it"


def configured() -> set[str]:
    """The names of all providers in the configuration's schema."""
    union, _ = get_args(OrganizationSettings)
    return {get_args(each.model_fields["provider"].annotation)[0] for each in get_args(union)}


def test_every_provider_is_in_it_and_has_a_page() -> None:
    providers = configured()
    assert {of.name for of in vendors()} == providers
    assert {path.stem for path in (PAGE.parent / "providers").glob("*.md")} == providers


def test_every_choice_of_providers_lists_all_of_them() -> None:
    assert set(get_args(SellerRule.model_fields["like"].annotation)) == configured()
    [choice] = [each.type for each in main.commands["estimate"].params if each.name == "provider"]
    assert set(choice.choices) == configured()  # type: ignore[attr-defined]  # it is a click.Choice
