"""Keeps the cards of one notifier up to date: claim a due card, render its job's current state, edit the message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, Protocol

import anyio
import structlog
from anyio import to_thread

from monitor.clock import Clock
from monitor.courier.lanes import Lane, Lanes
from monitor.courier.state import SOON, until_due
from monitor.courier.verdict import LONGEST_WAIT, DeliveryPolicy, backoff
from monitor.domain.cards import appearance, card_template, render_card
from monitor.domain.flow import Tracked
from monitor.domain.model import JobEvent
from monitor.domain.news import Card, Message
from monitor.domain.render import Labelling
from monitor.domain.routing import Rule
from monitor.domain.text import line
from monitor.notifiers.base import Attempt, FailureKind, Notifier, Picture, Receipt, SendError
from monitor.notifiers.chart import PlottedLine
from monitor.store import CardStore, ClaimedCard, StoreError, StoreUnavailable

log = structlog.get_logger(__name__)

EDITS_GAP: Final = 1.2
"""Seconds between two edits at one target. Slack allows 50 a minute (https://docs.slack.dev/apis/web-api/rate-limits)."""
_POLL_EVERY: Final = 5.0
_STORE_RETRY: Final = 2.0
_CHARTS: Final = 3
"""The most attempts to attach a chart to a card."""


class CardNotifier(Notifier, Protocol):
    """A notifier that can edit its messages."""

    async def edit(self, card: Card, message: Message, attempt: Attempt) -> None:
        """Replace the content of a card. Raises SendError, with the kind CARD if it can no longer be edited."""
        ...

    async def attach(self, card: Card, picture: Picture) -> None:
        """Post a picture below a card if the channel can. Raises SendError."""
        ...


class CardMetrics(Protocol):
    """The counters of card updates."""

    def card(self, notifier: str, result: str) -> None:
        """Count an update. The result is `edited`, `reposted`, `abandoned` or `failed`."""

    def template_failed(self, template: str) -> None:
        """Count a card that was shown with the built-in text because its template failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardEditor:
    """Edits the cards of one notifier. Edits have a rate limit of their own, so that they do not delay deliveries."""

    store: CardStore
    notifier: CardNotifier
    clock: Clock
    owner: str
    """The name of this process in the leases of the store."""
    policy: DeliveryPolicy
    labellings: Mapping[str, Labelling]
    """Labels and links by organisation."""
    rules: tuple[Rule, ...]
    """The routes, whose templates render the cards."""
    curves: Callable[[str, Collection[str]], Awaitable[Mapping[str, Sequence[JobEvent]]]]
    """Reads the stored metrics events of some jobs of an organisation, by job id."""
    draw: Callable[[str, Sequence[PlottedLine]], bytes] | None
    """Draws a PNG chart with a title; None if cards have no charts."""
    jitter: Callable[[], float]
    """Returns a random number from 0 to 1."""
    lanes: Lanes
    metrics: CardMetrics
    _retired: anyio.Event = field(default_factory=anyio.Event, init=False, repr=False)
    _lane: Lane = field(init=False, repr=False)
    _posts: Lane = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Look up the shared lanes. The fields are set this way because it is frozen."""
        object.__setattr__(self, "_lane", self.lanes.lane(f"{self.notifier.lane} edits", EDITS_GAP))
        object.__setattr__(self, "_posts", self.lanes.lane(self.notifier.lane, self.notifier.min_gap))

    async def run(self) -> None:
        """Edit cards as they become due, until `retire` is called."""
        down = False
        while not self._retired.is_set():
            try:
                wait = await self._round()
            except StoreUnavailable as error:
                if not down:
                    log.warning("cards.store_unavailable", notifier=self.notifier.name, error=str(error))
                down, wait = True, _STORE_RETRY
            else:
                if down:
                    log.info("cards.store_available", notifier=self.notifier.name)
                down = False
            await self.clock.wait(self._retired, wait)

    def retire(self) -> None:
        """Claim no more cards. `run` returns when the edit in flight has ended."""
        self._retired.set()

    async def edit_once(self) -> bool:
        """One step: edit a due card if the target may be used now. Returns whether one was due. Raises StoreError."""
        if not self._lane.take(self.clock.monotonic()):
            return False
        claimed, used = None, False
        try:
            claimed = await self.store.claim(self.notifier.name, owner=self.owner, lease=self.policy.lease)
            if claimed is not None:
                used = await self._update(claimed)
        finally:
            self._lane.release(self.clock.monotonic(), used=used)
        return claimed is not None

    async def _round(self) -> float:
        """One step. Returns the seconds to wait before the next one."""
        if await self.edit_once():
            return 0.0
        if (rest := self._lane.wait(self.clock.monotonic())) > 0:
            return min(rest, _POLL_EVERY)
        due = await self.store.next_due(self.notifier.name)
        return until_due(due, _POLL_EVERY)

    async def _update(self, claimed: ClaimedCard) -> bool:
        """Bring a card up to date. Returns whether anything was sent."""
        tracked = claimed.tracked
        if tracked is None or self._over(tracked):
            await self._abandon(claimed)
            return False
        try:
            message = self._rendered(claimed, tracked)
            same = claimed.card is not None and appearance(message) == claimed.shown
            if same:
                await self.store.unchanged(claimed)
            else:
                await self._show(claimed, replace(message, channel=claimed.channel))
                return True
            return await self._chart(claimed, tracked)
        except SendError as error:
            await self._failed(claimed, error)
        except StoreError:
            raise
        except Exception:  # a bug with one job must not block the cards of others
            log.exception("card.crashed", card=claimed.key)
            await self._failed(claimed, SendError(FailureKind.CRASH, "bug"))
        return True

    def _rendered(self, claimed: ClaimedCard, tracked: Tracked) -> Message:
        """The card by its route's template, or with the built-in text if there is none or it fails."""
        labelling = self.labellings.get(tracked.job.org, Labelling())
        to = self.notifier.name + (claimed.channel or "")
        template = card_template(tracked, to, self.rules, labelling.labels)
        return render_card(tracked, labelling, self.clock.now(), template)

    async def _show(self, claimed: ClaimedCard, message: Message) -> None:
        """Edit a card, or post it again if it is gone or there is none yet. Raises SendError if the edit fails."""
        if (failure := message.template_failure) is not None:
            self.metrics.template_failed(failure.template)
            log.warning("template.failed", card=claimed.key, template=failure.template, reason=failure.reason)
        attempt = Attempt(key=claimed.key, at=self.clock.now())
        if claimed.card is not None and await self._edited(claimed.card, message, attempt):
            self.metrics.card(self.notifier.name, "edited")
            await self.store.shown(claimed, appearance(message), claimed.card)
        elif claimed.card is None or await self.store.lose(claimed):
            await self._repost(claimed, message, replace(attempt, repeated=claimed.posts > 1))
        else:
            self._report_abandoned(claimed)

    async def _edited(self, card: Card, message: Message, attempt: Attempt) -> bool:
        """Edit a card. Returns False if it is gone or too old to be edited. Raises SendError."""
        try:
            await self.notifier.edit(card, message, attempt)
        except SendError as error:
            if error.kind is not FailureKind.CARD:
                raise
            log.info("card.lost", card=attempt.key, reason=error.reason)
            return False
        return True

    async def _repost(self, claimed: ClaimedCard, message: Message, attempt: Attempt) -> None:
        try:
            receipt = await self._posted(message, attempt)
        except SendError as error:
            await self._failed(claimed, error, unposted=error.kind is not FailureKind.AMBIGUOUS)
            return
        self.metrics.card(self.notifier.name, "reposted")
        log.info("card.reposted", card=claimed.key)
        if receipt.card is None:
            await self._abandon(claimed)
        else:
            await self.store.shown(claimed, appearance(message), receipt.card)

    async def _posted(self, message: Message, attempt: Attempt) -> Receipt:
        """Post a message, after waiting for a turn in the lane of the notifier's deliveries. Raises SendError."""
        while not self._posts.take(now := self.clock.monotonic()):
            await self.clock.sleep(max(self._posts.wait(now), SOON))
        agreed = False
        try:
            agreed = await self._posts.agree(self.policy.lease)
            if not agreed:
                raise SendError(FailureKind.RATE, "no_turn", "another replica is using the target")
            return await self.notifier.send(message, attempt)
        finally:
            self._posts.release(self.clock.monotonic(), used=agreed)
            if agreed:
                await self._posts.give_back(self.clock.monotonic())

    async def _chart(self, claimed: ClaimedCard, tracked: Tracked) -> bool:
        """Attach a loss chart to the card of a finished job. Returns whether anything was sent."""
        if self.draw is None or claimed.card is None or not tracked.finalized or claimed.charts >= _CHARTS:
            return False
        job = tracked.job
        events = (await self.curves(job.org, [job.id])).get(job.id, ())
        lines = loss_lines(events)
        await self.store.charted(claimed, claimed.charts + 1 if lines else _CHARTS)
        if not lines:
            return False
        try:
            title = line(f"{job.name or job.provider_id}: loss by step", 80)
            content = await to_thread.run_sync(self.draw, title, lines)
            await self.notifier.attach(claimed.card, Picture(name="loss.png", title=title, content=content))
        except SendError as error:
            log.info("card.chart_failed", card=claimed.key, reason=error.reason, error=str(error))
            final = error.kind in {FailureKind.TARGET, FailureKind.MESSAGE}
            again = None if final else timedelta(seconds=backoff(claimed.charts + 4, self.policy, self.jitter()))
            await self.store.charted(claimed, _CHARTS if final else claimed.charts + 1, again=again)
        else:
            await self.store.charted(claimed, _CHARTS)
        return True

    async def _failed(self, claimed: ClaimedCard, error: SendError, *, unposted: bool = False) -> None:
        """Postpone a failed edit. The next attempt renders the state of the job at that time."""
        wait = max(backoff(claimed.attempts, self.policy, self.jitter()), min(error.retry_after or 0.0, LONGEST_WAIT))
        if error.kind is FailureKind.RATE or error.retry_after is not None:
            self._lane.pause(self.clock.monotonic() + wait)
        self.metrics.card(self.notifier.name, "failed")
        log.info("card.failed", card=claimed.key, reason=error.reason, error=str(error))
        await self.store.postpone(claimed, timedelta(seconds=wait), unposted=unposted)

    def _over(self, tracked: Tracked) -> bool:
        """Whether the job has been over for longer than `max_age`, so that its card is not updated any more."""
        return tracked.job.status.final and self.clock.now() - tracked.since > self.policy.max_age

    async def _abandon(self, claimed: ClaimedCard) -> None:
        self._report_abandoned(claimed)
        await self.store.abandon(claimed)

    def _report_abandoned(self, claimed: ClaimedCard) -> None:
        self.metrics.card(self.notifier.name, "abandoned")
        log.warning("card.abandoned", card=claimed.key)


def loss_lines(events: Iterable[JobEvent]) -> list[PlottedLine]:
    """The training and the validation loss by step, each if it has at least two points."""
    training: dict[int, float] = {}
    validation: dict[int, float] = {}
    for metrics in (event.metrics for event in events if event.metrics is not None):
        for points, loss in ((training, metrics.train_loss), (validation, metrics.valid_loss)):
            if metrics.step is not None and loss is not None:
                points[metrics.step] = loss
    return [
        PlottedLine(name=name, points=tuple((float(step), loss) for step, loss in sorted(points.items())))
        for name, points in (("training", training), ("validation", validation))
        if len(points) > 1
    ]
