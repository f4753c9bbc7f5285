"""Sends the deliveries of the outbox: one courier per notifier claims what is due, sends it and stores the outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Final

import anyio
import structlog

from monitor.clock import Clock
from monitor.courier.lanes import Lane, Lanes
from monitor.courier.state import AGREE_EVERY, CourierState, until_due
from monitor.courier.target import DeliveryMetrics, TargetHealth
from monitor.courier.unsettled import UnsettledOutcomes
from monitor.courier.verdict import (
    LONGEST_WAIT,
    DeadLetter,
    Delivered,
    DeliveryPolicy,
    Outcome,
    Postpone,
    Suspend,
    backoff,
    verdict,
)
from monitor.notifiers.base import Attempt, FailureKind, Notifier, SendError
from monitor.store import ClaimedDelivery, Outbox, StoreUnavailable
from monitor.tracebacks import cut_traceback

__all__ = ["Courier", "DeliveryMetrics", "DeliveryPolicy", "Lanes"]

log = structlog.get_logger(__name__)

_SLOWEST: Final = 60.0  # seconds: the longest pause between two requests to a failing target
_POLL_EVERY: Final = 10.0  # seconds: leases of a replica that died expire without a wake-up
_STORE_RETRY: Final = 2.0  # seconds
_ADOPT_SETTLED_EVERY: Final = 3600.0  # seconds; all deliveries are read


async def _wake(call: Callable[[], Awaitable[None]], sleeper: anyio.CancelScope) -> None:
    await call()
    sleeper.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class Courier:
    """Sends the deliveries of one notifier. Each notifier has its own, so that a slow target delays no other."""

    outbox: Outbox
    notifier: Notifier
    clock: Clock
    owner: str
    """The name of this process in the leases of the store."""
    policy: DeliveryPolicy
    jitter: Callable[[], float]
    """Returns a random number from 0 to 1."""
    lanes: Lanes
    metrics: DeliveryMetrics
    was: str | None = None
    """The notifier's former name."""
    grace: float = 8.0
    """Seconds that sends in flight have to finish when the program is stopped, which may take 10 seconds in all."""
    _state: CourierState = field(default_factory=CourierState, init=False, repr=False)
    _health: TargetHealth = field(init=False, repr=False)
    _unsettled: UnsettledOutcomes = field(init=False, repr=False)
    _lane: Lane = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Create the mutable state and look up the shared lane. The fields are set this way because it is frozen."""
        object.__setattr__(self, "_health", TargetHealth(name=self.notifier.name, metrics=self.metrics))
        object.__setattr__(self, "_unsettled", UnsettledOutcomes(outbox=self.outbox, clock=self.clock))
        object.__setattr__(self, "_lane", self.lanes.lane(self.notifier.lane, self.notifier.min_gap))

    async def run(self) -> None:
        """Send deliveries until `retire` is called: as soon as one is enqueued, or when the next one is due."""
        if not self._state.retired.is_set():
            self.metrics.set_suspended(self.notifier.name, self._health.suspended)
        while not self._state.retired.is_set():
            mark = self.outbox.enqueued
            try:
                wait = await self._round()
            except StoreUnavailable as error:
                self._store_is_down(error)
                await self.clock.sleep(_STORE_RETRY)
                continue
            self._store_is_up()
            if wait > 0:
                await self._idle(wait, mark)
        await self._unsettled.close(retry=_STORE_RETRY)

    def retire(self) -> None:
        """Claim no more deliveries. `run` returns when those in flight have been sent and their outcomes stored."""
        self._state.retired.set()

    async def drain_once(self) -> int:
        """One step: claim due deliveries, send them and store the outcomes. Returns their number. Raises StoreError."""
        await self._unsettled.catch_up()
        await self._agree_on_health()
        probe, start = self._health.suspended, self.clock.monotonic()
        if self._health.rest(start) > 0 or not self._lane.take(start):
            return 0
        claimed: tuple[ClaimedDelivery, ...] = ()
        agreed = False
        try:
            agreed = await self._lane.agree(self.policy.lease)
            if agreed and (claimed := await self._claim()):
                await self._send_batch(claimed, probe=probe)
        finally:
            self._lane.release(self.clock.monotonic(), used=bool(claimed))
            if agreed:
                await self._lane.give_back(self.clock.monotonic())
        return len(claimed)

    async def _agree_on_health(self) -> None:
        """Exchange with other replicas that use the target whether it is suspended."""
        targets, name, health, now = self.lanes.targets, self.notifier.name, self._health, self.clock.monotonic()
        due = health.suspended != self._state.agreed or (health.suspended and health.rest(now) <= 0)
        if targets is None or not self._state.time_to_agree(now, due=due):
            return
        if self._state.agreed is None:
            await targets.probe_now(name)  # the address or the secret may have changed with the restart
        elif health.suspended and not self._state.agreed:
            await targets.suspend(name, timedelta(seconds=max(health.rest(now), 0.0)))
        elif self._state.agreed and not health.suspended:
            await targets.resume(name)
        probe_in = await targets.probe_in(name)
        if probe_in is None:
            health.resumed_elsewhere()
        elif probe_in <= timedelta(0) and await targets.take_probe(name, timedelta(seconds=health.probe_wait)):
            health.suspended_elsewhere(now)  # this replica has taken the probe
        else:
            health.suspended_elsewhere(now + max(probe_in.total_seconds(), AGREE_EVERY))
        self._state.agreed = health.suspended

    async def _round(self) -> float:
        """One step, with housekeeping before it. Returns the seconds to wait before the next one."""
        now = self.clock.now()
        if self._state.time_to_expire(now, self.clock.monotonic()):
            await self._adopt()
            await self._expire()
        if await self.drain_once():
            return 0.0
        monotonic = self.clock.monotonic()
        rest = max(self._health.rest(monotonic), self._lane.wait(monotonic))
        if rest > 0:
            return min(rest, _POLL_EVERY)
        due = await self.outbox.next_due(self.notifier.name)
        return until_due(due, _POLL_EVERY)

    async def _adopt(self) -> None:
        """Take over deliveries under the former name, which a replica with an old configuration may still enqueue."""
        if self.was is None:
            return
        now = self.clock.monotonic()
        settled = now >= self._state.adopt_settled_at
        count = await self.outbox.adopt(self.notifier.name, self.was, settled=settled)
        if settled:
            self._state.adopt_settled_at = now + _ADOPT_SETTLED_EVERY
        if count:
            log.info("deliveries.adopted", notifier=self.notifier.name, was=self.was, count=count)

    async def _expire(self) -> None:
        """Make deliveries that are too old dead letters, including those of notifiers that are no longer configured."""
        for notifier, count in (await self.outbox.expire(self.policy.max_age)).items():
            log.error("deliveries.expired", notifier=notifier, count=count)
            for _ in range(count):
                self.metrics.dead(notifier, "expired")
            self._state.crashes.clear()  # expired deliveries may be among them

    async def _idle(self, seconds: float, mark: int) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(_wake, partial(self.outbox.wait_enqueued, mark), group.cancel_scope)
            group.start_soon(_wake, self._state.retired.wait, group.cancel_scope)
            await self.clock.sleep(seconds)
            group.cancel_scope.cancel()

    async def _claim(self) -> tuple[ClaimedDelivery, ...]:
        limit = 1 if self._lane.gap > 0 else self._health.take_window()
        return await self.outbox.claim(self.notifier.name, owner=self.owner, limit=limit, lease=self.policy.lease)

    async def _send_batch(self, claimed: tuple[ClaimedDelivery, ...], *, probe: bool) -> None:
        """Send the deliveries concurrently. If the program is stopped, they have `grace` seconds to finish."""
        done, shield = anyio.Event(), anyio.CancelScope(shield=True)

        async def _send_all() -> None:
            try:
                with shield:
                    async with anyio.create_task_group() as group:
                        for delivery in claimed:
                            group.start_soon(self._deliver, delivery, probe)
            finally:
                done.set()

        async with anyio.create_task_group() as group:
            group.start_soon(_send_all)
            try:
                await done.wait()
            except anyio.get_cancelled_exc_class():
                with anyio.move_on_after(self.grace, shield=True):
                    await done.wait()
                shield.cancel()
                raise

    async def _deliver(self, claimed: ClaimedDelivery, probe: bool) -> None:
        outcome = await self._attempt(claimed, probe) if claimed.readable else DeadLetter(reason="unreadable")
        self._report(claimed, outcome)
        if isinstance(outcome, Delivered | DeadLetter):
            self._state.crashes.pop(claimed.key, None)
        await self._unsettled.record(claimed, outcome)

    async def _attempt(self, claimed: ClaimedDelivery, probe: bool) -> Outcome:
        key, now = claimed.key, self.clock.now()
        attempt = Attempt(key=key, at=now, number=claimed.attempts, repeated=claimed.ambiguous, card=claimed.card)
        try:
            delivered = await self._send(claimed, attempt)
        except SendError as error:
            return self._judge(error, claimed, probe=probe)
        except Exception:  # a bug in one channel or message must not block the deliveries behind it
            log.exception("delivery.crashed", key=key)
            outcome = self._judge(SendError(FailureKind.CRASH, "bug"), claimed, probe=probe)
            return replace(outcome, ambiguous=True) if isinstance(outcome, Postpone) else outcome
        self._health.answered(probe=probe)
        return delivered

    async def _send(self, claimed: ClaimedDelivery, attempt: Attempt) -> Delivered:
        """Send a delivery as a reply to the card of its subject, or as a message of its own. Raises SendError."""
        message = claimed.delivery.message
        try:
            receipt = await self.notifier.send(message, attempt)
        except SendError as error:
            if error.kind is not FailureKind.CARD or attempt.card is None:
                raise
            attempt = replace(attempt, card=None)  # the card is gone, and this message becomes the next card
            receipt = await self.notifier.send(message, attempt)
        begins = claimed.delivery.card and attempt.card is None
        return Delivered(reference=receipt.reference, posted=receipt.card if begins else None)

    def _judge(self, error: SendError, claimed: ClaimedDelivery, *, probe: bool) -> Outcome:
        key, now = claimed.key, self.clock.monotonic()
        self._health.failed(error, now, key=key, probe=probe)
        if error.kind is FailureKind.CRASH:
            self._state.crashes[key] = self._state.crashes.get(key, 0) + 1
        self._lane.pause(now + self._hold(error, claimed))
        log.debug("delivery.failed", key=key, reason=error.reason, error=str(error), attempt=claimed.attempts)
        cut_traceback(error)
        return verdict(
            error,
            claimed,
            self.policy,
            jitter=self.jitter(),
            idempotent=self.notifier.idempotent,
            crashes=self._state.crashes.get(key, 0),
        )

    def _hold(self, error: SendError, claimed: ClaimedDelivery) -> float:
        """Seconds for which no delivery is sent to the target after this failure."""
        if error.kind in {FailureKind.RATE, FailureKind.TRANSIENT} and error.retry_after is not None:
            return min(error.retry_after, LONGEST_WAIT)
        if error.kind is FailureKind.RATE:
            return min(backoff(claimed.attempts, self.policy, self.jitter()), _SLOWEST)
        if self._health.excess > 0:
            return min(backoff(self._health.excess, self.policy, self.jitter()), _SLOWEST)
        return 0.0

    def _report(self, claimed: ClaimedDelivery, outcome: Outcome) -> None:
        """Count and log the outcome of an attempt, before it is stored, so that this happens exactly once."""
        name, key, route = self.notifier.name, claimed.key, claimed.delivery.message.route
        failure = claimed.delivery.message.template_failure
        if failure is not None and isinstance(outcome, Delivered | DeadLetter):
            self.metrics.template_failed(failure.template)
            log.warning("template.failed", key=key, template=failure.template, reason=failure.reason)
        match outcome:
            case Delivered():
                self.metrics.sent(name, (self.clock.now() - claimed.created_at).total_seconds())
                if route is not None:
                    self.metrics.routed(route)
                log.info("delivery.sent", key=key)
            case DeadLetter():
                self.metrics.dead(name, outcome.reason)
                log.error("delivery.dead", key=key, reason=outcome.reason)
            case Suspend() | Postpone(counted=True):
                self.metrics.failed(name, outcome.reason)
            case Postpone():
                log.info("delivery.held_back", key=key, reason=outcome.reason, seconds=outcome.delay)

    def _store_is_down(self, error: StoreUnavailable) -> None:
        if not self._state.store_down:
            log.warning("courier.store_unavailable", notifier=self.notifier.name, error=str(error))
        self._state.store_down = True

    def _store_is_up(self) -> None:
        if self._state.store_down:
            log.info("courier.store_available", notifier=self.notifier.name)
        self._state.store_down = False
