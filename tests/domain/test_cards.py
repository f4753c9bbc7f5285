"""What a card says of a job at any time, when it may have to say something else, and what looks the same."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from monitor.config.templates import TemplateSource
from monitor.domain.cards import appearance, card_changes, card_template, progress_bar, render_card
from monitor.domain.flow import Tracked, Transition, TransitionKind
from monitor.domain.model import UNKNOWN_COST, Basis, Cost, Job, JobError, Metrics, Status
from monitor.domain.news import CardChange, EventType, Severity, job_subject
from monitor.domain.render import Labelling, render
from monitor.domain.routing import Match, Rule
from monitor.domain.stall import Stall, StallReason
from monitor.domain.templates import MessageTemplate
from tests.builders import HOUR, MINUTE, NOON, job, on, tracked, trained

LABELLING = Labelling(monitor_url="https://monitor.example.com")
SUBJECT = job_subject("research", "ftjob-1")
RULE = Rule(on=on("progress", "failed"), notify=("ml", "ops"), cards=frozenset({"ml"}))
MOVED = Transition(
    org="research", job="ftjob-1", seq=2, at=NOON, kind=TransitionKind.MOVED, before=Status.QUEUED, after=Status.RUNNING
)


def half(**over: Any) -> Job:
    """A job that runs and is half done."""
    fields: dict[str, Any] = {
        "name": "support-bot",
        "started_at": NOON - HOUR,
        "url": "https://platform.openai.com/finetune/ftjob-1",
    }
    return trained(job(**{**fields, **over}), latest=Metrics(step=1250, steps=2500, train_loss=1.23456, valid_loss=0.5))


def shown(of: Tracked) -> dict[str, str]:
    return dict(render_card(of, LABELLING, NOON).facts)


def test_a_running_job_shows_how_far_it_is_what_it_cost_and_when_it_will_end() -> None:
    cost = Cost(basis=Basis.ESTIMATED, usd=Decimal("12.50"))
    message = render_card(tracked(half(estimated_finish=NOON + 25 * MINUTE), cost=cost), LABELLING, NOON)
    assert (message.title, message.severity) == ("support-bot is running", Severity.INFO)
    assert message.facts[:6] == (
        ("Progress", "██████████░░░░░░░░░░ 50%"),
        ("Step", "1,250 of 2,500"),
        ("Loss", "1.235"),
        ("Validation loss", "0.5"),
        ("Expected finish", "12:25 UTC"),
        ("Organisation", "research"),
    )
    assert dict(message.facts)["Cost so far"] == "about $6.25 of about $12.50"
    assert message.monitor_url == "https://monitor.example.com/jobs/research/ftjob-1"


@pytest.mark.parametrize(
    ("of", "title", "severity"),
    [
        (tracked(job(status=Status.QUEUED)), "ftjob-1 is queued", Severity.INFO),
        (tracked(job(status=Status.VALIDATING)), "ftjob-1 is being validated", Severity.INFO),
        (tracked(job(status=Status.CANCELLING)), "ftjob-1 is being cancelled", Severity.INFO),
        (tracked(job(status=Status.UNKNOWN)), "ftjob-1 has an unknown status", Severity.INFO),
        (tracked(job(status=Status.PAUSED)), "ftjob-1 is paused", Severity.WARNING),
        (tracked(job(), stalled=True), "ftjob-1 has stalled", Severity.WARNING),
        (tracked(job(status=Status.UNKNOWN), missing=3), "ftjob-1 is gone from the provider", Severity.WARNING),
        (tracked(job(status=Status.CANCELLED)), "ftjob-1 was cancelled", Severity.WARNING),
        (tracked(job(status=Status.SUCCEEDED), stalled=True), "ftjob-1 succeeded", Severity.GOOD),
    ],
)
def test_every_state_has_its_words(of: Tracked, title: str, severity: Severity) -> None:
    message = render_card(of, LABELLING, NOON)
    assert (message.title, message.severity) == (title, severity)


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
def test_the_card_of_a_job_that_is_over_looks_like_the_message_of_its_end(status: Status) -> None:
    error = JobError(code="server_error", message="It broke")
    of = tracked(half(status=status, finished_at=NOON, error=error), cost=Cost(basis=Basis.COMPUTED, usd=Decimal(6)))
    told = render(replace(MOVED, after=status), of, EventType(status.value), LABELLING)
    assert appearance(render_card(of, LABELLING, NOON)) == appearance(told)


@pytest.mark.parametrize(
    ("cost", "label", "text"),
    [
        (UNKNOWN_COST, "Cost", "unknown"),
        (Cost(basis=Basis.REPORTED, usd=Decimal("3.5")), "Cost", "$3.50"),
        (
            Cost(basis=Basis.ESTIMATED, usd=Decimal(10), low=Decimal(8), high=Decimal(14)),
            "Cost so far",
            "about $5.00 of about $10.00 (between $8.00 and $14.00)",
        ),
    ],
)
def test_a_cost_is_shown_as_it_is_known(cost: Cost, label: str, text: str) -> None:
    assert shown(tracked(half(), cost=cost))[label] == text


def test_without_progress_an_estimate_is_of_the_whole_and_no_bar_is_drawn() -> None:
    facts = shown(tracked(job(), cost=Cost(basis=Basis.ESTIMATED, usd=Decimal(10))))
    assert facts["Cost"] == "about $10.00"
    assert not {"Progress", "Step", "Loss", "Expected finish", "Cost so far"} & facts.keys()
    assert "Cost" not in shown(tracked(job()))


@pytest.mark.parametrize(
    ("finish", "text"),
    [(NOON + 13 * HOUR, "2026-11-23 01:00 UTC"), (NOON + 5 * MINUTE, "12:05 UTC"), (NOON - MINUTE, None)],
)
def test_an_end_is_expected_on_its_day_and_never_in_the_past(finish: Any, text: str | None) -> None:
    assert shown(tracked(half(estimated_finish=finish))).get("Expected finish") == text
    assert "Expected finish" not in shown(tracked(half(estimated_finish=finish), missing=3)), (
        "nobody expects what is gone"
    )


def test_a_stall_says_since_when_and_not_for_how_long_which_would_be_another_text_with_every_look() -> None:
    of = tracked(half(), stalled=True, stall=Stall(reason=StallReason.SILENT, since=NOON - HOUR))
    first, later = (render_card(of, LABELLING, at) for at in (NOON, NOON + 5 * MINUTE))
    assert appearance(first) == appearance(later)
    assert {"Stalled since": "11:00 UTC", "Why": "no sign of life"}.items() <= dict(first.facts).items()
    assert first.hint is not None


def test_a_step_without_a_total_is_shown_alone() -> None:
    assert shown(tracked(trained(job(), latest=Metrics(step=7))))["Step"] == "7"


@pytest.mark.parametrize(
    ("progress", "text"), [(0.0, "░" * 20 + " 0%"), (0.999, "█" * 19 + "░ 99%"), (1.0, "█" * 20 + " 100%")]
)
def test_a_bar_is_full_at_the_end_alone(progress: float, text: str) -> None:
    assert progress_bar(progress) == text


def test_what_is_not_shown_makes_no_other_appearance() -> None:
    message = render_card(tracked(half()), LABELLING, NOON)
    assert appearance(replace(message, at=NOON - HOUR, data="{}", type="x", mention="<@U1>")) == appearance(message)
    others = (
        replace(message, title="x"),
        replace(message, facts=()),
        replace(message, error="x"),
        replace(message, hint="x"),
        replace(message, link=None),
        replace(message, severity=Severity.BAD),
    )
    assert len({appearance(one) for one in (message, *others)}) == 7


def changes(was: Tracked | None, now: Tracked, transition: Transition | None = None, *rules: Rule) -> list[CardChange]:
    return [*card_changes(was, now, transition, rules or (RULE,), {})]


RUNS = tracked(half())
FURTHER = replace(RUNS, job=replace(RUNS.job, reported_progress=0.6))
EVERYWHERE = CardChange(subject=SUBJECT)
FOLLOWING = CardChange(subject=SUBJECT, addresses=frozenset({"ml"}))


def test_progress_concerns_the_cards_of_routes_that_ask_for_it() -> None:
    assert changes(RUNS, FURTHER) == [FOLLOWING]
    assert changes(RUNS, FURTHER, None, replace(RULE, on=on("failed"))) == []
    assert changes(RUNS, FURTHER, None, replace(RULE, match=Match(orgs=frozenset({"other"})))) == []
    assert changes(RUNS, FURTHER, None, replace(RULE, notify=("ops",))) == []


def test_another_status_concerns_all_cards_and_so_does_all_that_becomes_known_after_the_end() -> None:
    silent = replace(RULE, on=on("failed"))
    assert changes(RUNS, replace(FURTHER, seq=2), MOVED, silent) == [EVERYWHERE]
    over = replace(RUNS, job=replace(RUNS.job, status=Status.FAILED))
    assert changes(over, replace(over, finalized=True), None, silent) == [EVERYWHERE]


def test_where_nothing_changed_or_nobody_keeps_cards_nothing_is_to_be_edited() -> None:
    assert changes(RUNS, RUNS) == []
    assert changes(None, RUNS, MOVED) == []
    assert changes(RUNS, FURTHER, MOVED, replace(RULE, cards=frozenset())) == []


def worded(**parts: str) -> MessageTemplate:
    return MessageTemplate(name="short", **{part: TemplateSource(text=text) for part, text in parts.items()})


ML: dict[str, Any] = {"notify": ("ml",), "cards": frozenset({"ml"})}
SHORT = worded(title="{{ job.name or job.id }}: {{ event }}", text="{{ facts.Progress }}")


def test_a_card_is_in_the_words_of_a_template() -> None:
    message = render_card(tracked(half(estimated_finish=NOON + HOUR)), LABELLING, NOON, SHORT)
    assert (message.title, message.facts) == ("support-bot: progress", ())
    assert message.hint == progress_bar(0.5)


def test_a_card_whose_template_fails_has_the_built_in_words_and_says_why() -> None:
    of = tracked(half())
    message = render_card(of, LABELLING, NOON, worded(title="fine", text="{{ job.nothing.at_all }}"))
    assert message.template_failure is not None
    assert replace(message, template_failure=None) == render_card(of, LABELLING, NOON)


@pytest.mark.parametrize(
    ("of", "rules", "expected"),
    [
        pytest.param(half(), [Rule(on=on("progress"), template=SHORT, **ML)], SHORT, id="of what it shows"),
        pytest.param(half(), [Rule(on=on("started"), template=SHORT, **ML)], SHORT, id="of who leads there at all"),
        pytest.param(
            half(),
            [Rule(on=on("failed"), **ML), Rule(on=on("progress"), template=SHORT, **ML)],
            SHORT,
            id="what it shows goes first",
        ),
        pytest.param(
            half(), [Rule(on=on("progress"), template=SHORT, notify=("ml",))], None, id="where no card is kept"
        ),
        pytest.param(
            half(),
            [Rule(on=on("progress"), template=SHORT, match=Match(orgs=frozenset({"legal"})), **ML)],
            None,
            id="of another organisation",
        ),
        pytest.param(
            half(status=Status.FAILED),
            [Rule(on=on("failed"), template=SHORT, **ML), Rule(**ML)],
            SHORT,
            id="of its end",
        ),
    ],
)
def test_whose_words_a_card_has(of: Job, rules: list[Rule], expected: MessageTemplate | None) -> None:
    assert card_template(tracked(of), "ml", rules, {}) == expected
