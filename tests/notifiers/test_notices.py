"""How notices that are no job's look where people read them."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from monitor.domain.budgets import Budget, Period, Sum, period_of
from monitor.domain.costs import TunedModel
from monitor.domain.news import EventType, Message
from monitor.domain.notices import budget_news, shutdown_news
from monitor.domain.routing import OrgRef, Recipient, Rule
from monitor.notifiers.console import card
from monitor.notifiers.slack import payload
from monitor.notifiers.webhook import body
from tests.builders import on
from tests.notifiers.receivers import attempt

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
ACCOUNT = OrgRef(org="research", provider="openai")
RULE = Rule(on=on("budget", "shutdown"), notify=("ops",))
OPS = {"ops": Recipient(event=EventType.BUDGET, rule=RULE)}


def budget() -> Message:
    of = Budget(name="search", amount=Decimal(500), period=Period.MONTH)
    counted = Sum(computed=Decimal(300), estimated=Decimal(110))
    notice = budget_news(of, counted, period_of(of.period, NOW), recipients=OPS, notified={}, now=NOW)
    assert notice is not None
    return notice.deliveries[0].message


def shutdown(count: int) -> Message:
    base, end = "gpt-4o-mini-2024-07-18", date(2027, 1, 14)
    models = [
        TunedModel(org="research", id=f"ft:{base}:acme:{'b' * 180}:{number:03}", base=base, shutdown=end)
        for number in range(count)
    ]
    [notice] = shutdown_news(ACCOUNT, models, rules=(RULE,), notified=(), now=NOW)
    return notice.deliveries[0].message


def shown_in_slack(message: Message) -> str:
    return json.dumps(payload(message, attempt()), ensure_ascii=False)


def test_a_budget_in_the_terminal() -> None:
    assert card(budget(), attempt(), width=80) == (
        "▲ Budget search is at 82% ($410 of $500 this month)         2026-11-23 09:30:00Z\n"
        "  Period         2026-11\n"
        "  Threshold      80%\n"
        "  Finished jobs  $300\n"
        "  Active jobs    about $110\n"
        "\n"
    )


def test_a_shutdown_in_the_terminal_is_told_to_its_last_word() -> None:
    lines = card(shutdown(12), attempt(), width=80).splitlines()
    assert lines[:3] == [
        "▲ 12 fine-tuned models of research shut down on 14          2026-11-23 09:30:00Z",
        "  January 2027, in 52 days",
        "  Base model  gpt-4o-mini-2024-07-18: 12 models",
    ]
    assert sum(line.startswith("  Model ") for line in lines) == 1, "a label is not repeated in each row"
    assert sum("ft:" in line for line in lines) == 12
    assert all(len(line) <= 80 for line in lines)


def in_slack(message: Message) -> list[str]:
    shown = payload(message, attempt())
    blocks = [*shown["blocks"], *shown["attachments"][0]["blocks"]]
    return [block["text"]["text"] for block in blocks if "text" in block]


def test_a_budget_in_slack_is_one_line_of_figures_and_leads_to_no_job() -> None:
    title, facts = in_slack(budget())
    assert title == "*⚠️ Budget search is at 82% ($410 of $500 this month)*"
    assert "*Finished jobs* $300 · *Active jobs* about $110" in facts
    assert "At the provider" not in shown_in_slack(budget())


def test_a_shutdown_in_slack_lists_its_models_as_code() -> None:
    title, facts, models, hint = in_slack(shutdown(40))
    assert "Before that day, fine-tune a base model that remains" in hint
    assert title.startswith("*⚠️ 40 fine-tuned models of research shut down on 14 January 2027, in 52 days")
    assert "*Base model* gpt-4o-mini-2024-07-18: 40 models" in facts
    listed = models.splitlines()
    assert listed[0].startswith("*Model* `ft:gpt-4o-mini-2024-07-18:acme:bbb")
    assert re.fullmatch(r"and \d+ more", listed[-1])
    assert ":019" in payload(shutdown(40), attempt())["text"]


def test_a_receiver_gets_the_type_and_the_whole_list() -> None:
    sent = json.loads(body(shutdown(40)))
    assert (sent["type"], sent["timestamp"]) == ("finetune.model.shutdown", "2026-11-23T09:30:00Z")
    assert len(sent["data"]["models"]) == 40
    assert sent["data"]["days_left"] == (date(2027, 1, 14) - NOW.date()) // timedelta(days=1)
    assert json.loads(body(budget()))["type"] == "finetune.budget.crossed"
