"""The names of models at OpenAI and Azure, and what is parsed from them."""

from __future__ import annotations

import pytest

from monitor.domain.model import FailureClass
from monitor.domain.triage import triage
from monitor.providers.openai.naming import NAMING
from tests.providers.answers import job


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini-2024-07-18"),
        ("ft:gpt-4o-mini-2024-07-18:acme:bot:id", "gpt-4o-mini-2024-07-18"),
        ("ft:gpt-4o-mini-2024-07-18:acme:bot:id:ckpt-step-100", "gpt-4o-mini-2024-07-18"),
        ("ft:babbage-002:acme::id", "babbage-002"),
        ("curie:ft-acme-2021-03-04-05-06-07", "curie"),
        ("davinci:ft-acme:bot-2021-03-04-05-06-07", "davinci"),
        ("ft-gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("ft-ada", "ada"),
        ("ft-llama:ft-x", "llama"),
        ("somebody/ft-llama", "somebody/ft-llama"),
        ("llama:8b", "llama:8b"),
        ("ft:", ""),
        ("gpt-4o-mini-2024-07-18.ft-0e208cf33a6a466994aff31a08aba678", "gpt-4o-mini-2024-07-18"),
        ("gpt-4o-mini-2024-07-18.ft-0e208cf33a6a466994aff31a08aba678-team", "gpt-4o-mini-2024-07-18"),
        ("gpt-4.1-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678", "gpt-4.1-2025-04-14"),
        ("gpt-4.1-2025-04-14.ft-0e208cf3-3a6a-4669-94af-f31a08aba678-team", "gpt-4.1-2025-04-14"),
        ("gpt-4.1-2025-04-14.ft-0E208CF33A6A466994AFF31A08ABA678:ckpt-step-90", "gpt-4.1-2025-04-14"),
        ("gpt-4.1-2025-04-14.ft-run42-my-team", "gpt-4.1-2025-04-14"),
        ("models/x.ft-weights", "models/x.ft-weights"),
        ("", ""),
    ],
)
def test_a_model_name_leads_to_its_base(model: str, base: str) -> None:
    assert NAMING.base_model(model) == base


@pytest.mark.parametrize(
    ("model", "tuned"),
    [
        ("ft:gpt-4o-mini-2024-07-18:acme:bot:id", True),
        ("curie:ft-acme-2021-03-04-05-06-07", True),
        ("gpt-4.1-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678-team", True),
        ("ft-gpt-4o-2024-08-06", False),
        ("ft:nonsense", False),
        ("gpt-4o", False),
    ],
)
def test_a_tuned_model_is_recognised_by_its_name(model: str, tuned: bool) -> None:
    assert NAMING.is_tuned(model) is tuned


def test_snapshots_and_the_model_they_led_to_are_one_family() -> None:
    whole, snapshot = "ft:gpt-4o:acme:bot:abc", "ft:gpt-4o:acme:bot:def:ckpt-step-10"
    assert NAMING.family_of(whole) == NAMING.family_of(snapshot) == "ft:gpt-4o:acme:bot"
    assert (NAMING.is_snapshot(whole), NAMING.is_snapshot(snapshot)) == (False, True)


@pytest.mark.parametrize(
    ("fields", "base", "name"),
    [
        pytest.param({"model": "gpt-4o"}, "gpt-4o", None, id="a base is its own base"),
        pytest.param({"model": "ft:gpt-4o:acme:bot:abc"}, "gpt-4o", None, id="a job that goes on with a tuned model"),
        pytest.param(
            {
                "model": "gpt-4o-mini-2024-07-18.ft-0e208cf33a6a466994aff31a08aba678-team",
                "fine_tuned_model": "gpt-4o-mini-2024-07-18.ft-1f208cf33a6a466994aff31a08aba678-support",
            },
            "gpt-4o-mini-2024-07-18",
            "support",
            id="the same at Azure",
        ),
        pytest.param(
            {
                "model": "gpt-4o-mini-2024-07-18.ft-run42",
                "fine_tuned_model": "gpt-4o-mini-2024-07-18.ft-1f208cf3-3a6a-4669-94af-f31a08aba678-my-team",
            },
            "gpt-4o-mini-2024-07-18",
            "my-team",
            id="with other ids",
        ),
    ],
)
def test_a_job_knows_the_base_that_has_a_price(fields: dict[str, str], base: str, name: str | None) -> None:
    found = job(**fields)
    assert (found.base, found.name) == (base, name)


def test_that_training_was_closed_to_the_organisation_is_explained() -> None:
    closed = triage(job(error={"code": "Training_not_available", "message": "no"}).error)
    assert closed.cls is FailureClass.PERMISSION
    assert "may not create new jobs any more" in closed.hint
    assert "from 2027-01-06 on" in closed.hint
    assert "Its jobs and fine-tuned models can still be read." in closed.hint
    assert triage(job(error={"code": "permission_denied"}).error).hint != closed.hint
