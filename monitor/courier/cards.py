"""Keeps the cards of one notifier up to date: claim the one that is due, render its job as it is now, edit, settle."""

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
from monitor.domain.cards import appearance, render_card
from monitor.domain.flow import Tracked
from monitor.domain.model import JobEvent
from monitor.domain.news import Card, Message
from monitor.domain.render import Labelling
from monitor.domain.text import line
from monitor.notifiers.base import Attempt, FailureKind, Notifier, Picture, Receipt, SendError
from monitor.notifiers.chart import PlottedLine
from monitor.store import CardStore, ClaimedCard, StoreError, StoreUnavailable

log = structlog.get_logger(__name__)

EDITS_GAP: Final = 1.2
"""Seconds between two edits of one target: Slack takes fifty a minute (https://docs.slack.dev/apis/web-api/rate-limits)."""
_POLL_EVERY: Final = 5.0
_STORE_RETRY: Final = 2.0
_CHARTS: Final = 3
"""So often it is tried to show a curve."""


class CardNotifier(Notifier, Protocol):
    """A notifier that can edit what it posted."""

    async def edit(self, card: Card, message: Message, attempt: Attempt) -> None:
        """Let a card say this. Raises SendError: of the kind CARD where it can be edited no more."""
        ...

    async def attach(self, card: Card, picture: Picture) -> None:
        """Show a picture below a card, where the channel can. Raises SendError."""
        ...


class CardMetrics(Protocol):
    """The counters of what became of cards."""

    def card(self, notifier: str, result: str) -> None:
        """A card was `edited`, `reposted` or `abandoned`, or that `failed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardEditor:
    """Edits one notifier's cards. Its edits are paced apart from deliveries, so that it delays none."""

    store: CardStore
    notifier: CardNotifier
    clock: Clock
    owner: str
    """This process, as the store's leases know it."""
    policy: DeliveryPolicy
    labellings: Mapping[str, Labelling]
    """By organisation."""
    curves: Callable[[str, Collection[str]], Awaitable[Mapping[str, Sequence[JobEvent]]]]
    """What is stored of the measurements of an organisation's jobs, by their ids."""
    draw: Callable[[str, Sequence[PlottedLine]], bytes] | None
    """Draws the curve of a job that is over; None where no pictures are shown."""
    jitter: Callable[[], float]
    """A number from 0 to 1."""
    lanes: Lanes
    metrics: CardMetrics
    _retired: anyio.Event = field(default_factory=anyio.Event, init=False, repr=False)
    _lane: Lane = field(init=False, repr=False)
    _posts: Lane = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Find the lanes that it shares; they are set this way because the dependencies are frozen."""
        object.__setattr__(self, "_lane", self.lanes.lane(f"{self.notifier.lane} edits", EDITS_GAP))
        object.__setattr__(self, "_posts", self.lanes.lane(self.notifier.lane, self.notifier.min_gap))

    async def run(self) -> None:
        """Edit until it is retired, as cards fall due."""
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
        """Claim nothing more: `run` ends with the edit that is in flight."""
        self._retired.set()

    async def edit_once(self) -> bool:
        """One step: edit the card that is due, if one is and its target may be used. Raises StoreError."""
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
        """One step; how long to wait before the next, in seconds."""
        if await self.edit_once():
            return 0.0
        if (rest := self._lane.wait(self.clock.monotonic())) > 0:
            return min(rest, _POLL_EVERY)
        due = await self.store.next_due(self.notifier.name)
        return until_due(due, _POLL_EVERY)

    async def _update(self, claimed: ClaimedCard) -> bool:
        """Show the job as it is; whether anything was sent for that."""
        tracked = claimed.tracked
        if tracked is None or self._over(tracked):
            await self._abandon(claimed)
            return False
        try:
            message = render_card(tracked, self.labellings.get(tracked.job.org, Labelling()), self.clock.now())
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
        except Exception:  # what cannot be shown of one job must not hold up the others
            log.exception("card.crashed", card=claimed.key)
            await self._failed(claimed, SendError(FailureKind.CRASH, "bug"))
        return True

    async def _show(self, claimed: ClaimedCard, message: Message) -> None:
        """Edit it; where it is gone, post it anew. Raises SendError where it could not be edited."""
        attempt = Attempt(key=claimed.key, at=self.clock.now())
        if claimed.card is not None and await self._edited(claimed.card, message, attempt):
            self.metrics.card(self.notifier.name, "edited")
            await self.store.shown(claimed, appearance(message), claimed.card)
        elif claimed.card is None or await self.store.lose(claimed):
            await self._repost(claimed, message, replace(attempt, repeated=claimed.posts > 1))
        else:
            self._gave_up(claimed)

    async def _edited(self, card: Card, message: Message, attempt: Attempt) -> bool:
        """Whether it could be edited; False where it is gone or too old. Raises SendError."""
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
        """Post it when it is our turn among all that is posted there. Raises SendError."""
        while not self._posts.take(now := self.clock.monotonic()):
            await self.clock.sleep(max(self._posts.wait(now), SOON))
        agreed = False
        try:
            agreed = await self._posts.agree(self.policy.lease)
            if not agreed:
                raise SendError(FailureKind.RATE, "no_turn", "another replica posts there")
            return await self.notifier.send(message, attempt)
        finally:
            self._posts.release(self.clock.monotonic(), used=agreed)
            if agreed:
                await self._posts.give_back(self.clock.monotonic())

    async def _chart(self, claimed: ClaimedCard, tracked: Tracked) -> bool:
        """Show the curve of a job that is over below its card; whether anything was sent for that."""
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
        """Newest wins: it is tried again with what the job is like then."""
        wait = max(backoff(claimed.attempts, self.policy, self.jitter()), min(error.retry_after or 0.0, LONGEST_WAIT))
        if error.kind is FailureKind.RATE or error.retry_after is not None:
            self._lane.pause(self.clock.monotonic() + wait)
        self.metrics.card(self.notifier.name, "failed")
        log.info("card.failed", card=claimed.key, reason=error.reason, error=str(error))
        await self.store.postpone(claimed, timedelta(seconds=wait), unposted=unposted)

    def _over(self, tracked: Tracked) -> bool:
        """Whether its job has been over for so long that nobody looks at the card any more."""
        return tracked.job.status.final and self.clock.now() - tracked.since > self.policy.max_age

    async def _abandon(self, claimed: ClaimedCard) -> None:
        self._gave_up(claimed)
        await self.store.abandon(claimed)

    def _gave_up(self, claimed: ClaimedCard) -> None:
        self.metrics.card(self.notifier.name, "abandoned")
        log.warning("card.abandoned", card=claimed.key)


def loss_lines(events: Iterable[JobEvent]) -> list[PlottedLine]:
    """The losses by step that make a curve: of each kind that has two at least."""
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
