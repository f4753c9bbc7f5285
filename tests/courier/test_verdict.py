from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.courier.verdict import DeadLetter, Outcome, Postpone, Suspend, backoff, verdict
from monitor.domain.news import Delivery, job_subject
from monitor.notifiers.base import FailureKind
from monitor.store import ClaimedDelivery
from tests.builders import NOON
from tests.courier.parts import POLICY, error, letter

RATE, TRANSIENT, AMBIGUOUS = FailureKind.RATE, FailureKind.TRANSIENT, FailureKind.AMBIGUOUS
TARGET, MESSAGE, CRASH = FailureKind.TARGET, FailureKind.MESSAGE, FailureKind.CRASH


def claimed(**over: Any) -> ClaimedDelivery:
    delivery = Delivery(subject=job_subject("research", "a"), seq=1, notifier="ops", message=letter("a"))
    fields: dict[str, Any] = {"attempts": 1, "created_at": NOON, "ambiguous": False, "owner": "me"}
    return ClaimedDelivery(delivery=delivery, **{**fields, **over})


@pytest.mark.parametrize(
    ("failure", "asked", "of", "outcome"),
    [
        pytest.param(TRANSIENT, None, {}, Postpone(delay=4.0, reason="why"), id="a first failure waits for the base"),
        pytest.param(
            TRANSIENT,
            None,
            {"attempts": 4},
            Postpone(delay=32.0, reason="why"),
            id="the wait doubles with each attempt",
        ),
        pytest.param(TRANSIENT, None, {"attempts": 99}, Postpone(delay=600.0, reason="why"), id="up to its limit"),
        pytest.param(TRANSIENT, 50.0, {}, Postpone(delay=50.0, reason="why"), id="or as long as the target asks"),
        pytest.param(
            RATE,
            100.0,
            {},
            Postpone(delay=110.0, reason="why", counted=False),
            id="a limit is no attempt, and a bit late",
        ),
        pytest.param(RATE, 9e9, {}, Postpone(delay=3600.0, reason="why", counted=False), id="no longer than an hour"),
        pytest.param(
            RATE, None, {"attempts": 3}, Postpone(delay=16.0, reason="why"), id="a limit without a time backs off"
        ),
        pytest.param(
            AMBIGUOUS,
            None,
            {},
            Postpone(delay=4.0, reason="why", ambiguous=True),
            id="a lost answer is repeated, marked",
        ),
        pytest.param(AMBIGUOUS, None, {"ambiguous": True}, DeadLetter(reason="ambiguous"), id="but only once"),
        pytest.param(
            TRANSIENT,
            None,
            {"ambiguous": True},
            Postpone(delay=4.0, reason="why", ambiguous=True),
            id="the mark stays while it did not arrive",
        ),
        pytest.param(MESSAGE, None, {}, DeadLetter(reason="why"), id="a message that is refused is dead"),
        pytest.param(TARGET, None, {}, Suspend(delay=4.0, reason="why"), id="a target that refuses us is suspended"),
        pytest.param(CRASH, None, {}, Postpone(delay=4.0, reason="why"), id="what broke here is tried again"),
    ],
)
def test_what_follows_from_a_failure(
    failure: FailureKind, asked: float | None, of: dict[str, Any], outcome: Outcome
) -> None:
    said = verdict(error(failure, retry_after=asked), claimed(**of), POLICY, jitter=1.0, idempotent=False, crashes=1)
    assert said == outcome


def test_who_knows_the_key_may_get_it_again_and_again() -> None:
    said = verdict(error(AMBIGUOUS), claimed(ambiguous=True), POLICY, jitter=1.0, idempotent=True, crashes=0)
    assert said == Postpone(delay=4.0, reason="why", ambiguous=True)


@pytest.mark.parametrize(("crashes", "dead"), [(1, False), (4, False), (5, True)])
def test_what_breaks_here_is_given_up_at_the_fifth_time(crashes: int, *, dead: bool) -> None:
    said = verdict(error(CRASH), claimed(attempts=30), POLICY, jitter=0.0, idempotent=False, crashes=crashes)
    assert isinstance(said, DeadLetter) is dead


@pytest.mark.parametrize("kind", FailureKind)
def test_what_the_target_answered_goes_with_every_outcome(kind: FailureKind) -> None:
    refused = error(kind)
    refused.status, refused.answer = 418, "I am a teapot"
    outcome = verdict(refused, claimed(), POLICY, jitter=1.0, idempotent=True, crashes=0)
    assert outcome.answer == "418 I am a teapot"


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_the_wait_is_between_half_the_base_and_the_limit(attempts: int, jitter: float) -> None:
    assert 2.0 <= backoff(attempts, POLICY, jitter) <= 600.0
    assert timedelta(seconds=backoff(attempts, POLICY, 0.0)) == timedelta(seconds=2)
