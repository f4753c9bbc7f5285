"""What is told when an organisation cannot be watched for a while, and when it can be again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from monitor.domain.flow import Delivery, Message, Notice, Reason, Severity, Trouble
from monitor.domain.render import moment
from monitor.domain.routing import OrgRef, Rule, covers

_SUBJECT: Final = "outage"
_WORDS: Final = ("org_up", "org_down")  # by the number of what was told: odd is down
_WHY: Final = {
    Reason.AUTH: "its key is refused",
    Reason.NOT_ELIGIBLE: "fine-tuning is not open to it",
    Reason.RATE_LIMITED: "there are too many requests",
    Reason.UNAVAILABLE: "the API is down",
    Reason.MALFORMED: "the API's answers make no sense",
    Reason.TIMEOUT: "the API does not answer in time",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgHealthChange:
    """How well one organisation can be seen now."""

    account: OrgRef
    up: bool
    """The last poll saw its jobs; else none has for long enough to be told."""
    last_success: datetime | None = None
    trouble: Trouble | None = None


def outage_notice(sight: OrgHealthChange, rules: Iterable[Rule], told: Collection[str], now: datetime) -> Notice | None:
    """That the organisation is down, where the last that was told is that it is up or nothing; and the reverse.

    What is told is numbered, so that a restart knows which of them was the last. It goes to the rules on `org_down` or
    `org_up` whose organisations, providers and labels fit. While some rule is on either, it is numbered though nobody
    hears this one: who only wants to hear of the end of an outage does.
    """
    start = f"{sight.account.org}/{_SUBJECT}/"
    last = max((int(id_.removeprefix(start)) for id_ in told if id_.startswith(start)), default=0)
    listening = [rule for rule in rules if rule.on.intersection(_WORDS) and covers(rule.match, sight.account)]
    seq, org = last + 1, sight.account.org
    if not listening or sight.up is (seq % 2 == 1):
        return None
    word = _WORDS[seq % 2]
    hearers = dict.fromkeys(notifier for rule in listening if word in rule.on for notifier in rule.notify)
    message = _message(sight, word, now)
    return Notice(
        topic=org,
        subject=_SUBJECT,
        seq=seq,
        deliveries=tuple(Delivery(org=org, job=_SUBJECT, seq=seq, notifier=one, message=message) for one in hearers),
    )


def _message(sight: OrgHealthChange, word: str, now: datetime) -> Message:
    account, trouble = sight.account, sight.trouble if not sight.up else None
    why = f": {_WHY[trouble.reason]}" if trouble is not None else ""
    facts = [("Organisation", account.org), ("Provider", account.provider)]
    if not sight.up:
        facts.append(("Last seen", moment(sight.last_success) or "not yet"))
    return Message(
        type="finetune.org.up" if sight.up else "finetune.org.down",
        at=now,
        title=f"{account.org} is watched again" if sight.up else f"{account.org} cannot be watched{why}",
        severity=Severity.GOOD if sight.up else Severity.BAD,
        org=account.org,
        job=_SUBJECT,
        word=word,
        facts=tuple(facts),
        error=trouble.text if trouble is not None else None,
        data=json.dumps(_view(sight, trouble), ensure_ascii=False, allow_nan=False),
    )


def _view(sight: OrgHealthChange, trouble: Trouble | None) -> dict[str, Any]:
    return {
        "org": sight.account.org,
        "provider": sight.account.provider,
        "labels": dict(sight.account.labels),
        "last_success": moment(sight.last_success),
        "reason": trouble.reason if trouble is not None else None,
        "error": trouble.text if trouble is not None else None,
    }
