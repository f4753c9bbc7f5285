"""How many organisations each replica watches, and which go where."""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.shares import Share, fair_share

ORGS = [f"org-{number:02}" for number in range(10)]


@pytest.mark.parametrize(
    ("holders", "replicas", "expected"),
    [
        pytest.param({}, ["a"], Share(take=tuple(ORGS)), id="alone, all of them"),
        pytest.param(
            {}, ["a", "b"], Share(take=tuple(ORGS[:5]), fair=False), id="of two, the first takes the first half"
        ),
        pytest.param(
            {}, ["0", "a"], Share(take=tuple(ORGS[5:]), fair=False), id="of two, the second takes the second half"
        ),
        pytest.param(
            dict.fromkeys(ORGS, "a"), ["a", "b"], Share(give_to="b", fair=False), id="one goes to who has none"
        ),
        pytest.param(dict.fromkeys(ORGS, "b"), ["a", "b"], Share(fair=False), id="who has none waits to be given one"),
        pytest.param(
            dict.fromkeys(ORGS[:5], "a") | dict.fromkeys(ORGS[5:], "b"), ["a", "b"], Share(), id="as many, all is well"
        ),
        pytest.param(
            dict.fromkeys(ORGS[:4], "a") | dict.fromkeys(ORGS[4:7], "b") | dict.fromkeys(ORGS[7:], "c"),
            ["a", "b", "c"],
            Share(),
            id="one more than another is fair",
        ),
        pytest.param(
            dict.fromkeys(ORGS[:9], "a") | {ORGS[9]: "dead"},
            ["a"],
            Share(take=(ORGS[9],)),
            id="what the dead held is free",
        ),
        pytest.param(
            dict.fromkeys(ORGS[:5], "a"), ["a", "b"], Share(give_to="b", fair=False), id="a full share takes no more"
        ),
    ],
)
def test_a_replica_takes_what_is_free_up_to_its_share_and_gives_one_of_too_many(
    holders: dict[str, str], replicas: list[str], expected: Share
) -> None:
    assert fair_share(ORGS, holders, replicas, me="a", left_over=()) == expected


def test_what_nobody_wanted_is_taken_beyond_the_share() -> None:
    holders = dict.fromkeys(ORGS[:5], "a") | dict.fromkeys(ORGS[6:], "b")
    assert fair_share(ORGS, holders, ["a", "b"], me="a", left_over=()).take == ()
    assert fair_share(ORGS, holders, ["a", "b"], me="a", left_over={ORGS[5]}).take == (ORGS[5],)


class World:
    """Replicas that come and go, each with its newest view of who holds what."""

    def __init__(self) -> None:
        self.holders: dict[str, str] = {}
        self.live = ["r0"]
        self.born = count(1)

    def renew(self, me: str) -> bool:
        """Whether something moved."""
        share = fair_share(ORGS, self.holders, self.live, me=me, left_over=())
        self.holders.update(dict.fromkeys(share.take, me))
        if share.give_to is not None:
            self.holders[next(name for name in ORGS if self.holders.get(name) == me)] = share.give_to
        return bool(share.take) or share.give_to is not None

    def step(self, step: str) -> None:
        if step == "+":
            self.live.append(f"r{next(self.born)}")
        elif step == "-":
            del self.live[: len(self.live) > 1]
        else:
            self.renew(self.live[int(step) % len(self.live)])

    @property
    def shares(self) -> list[int]:
        held = Counter(self.holders.values())
        return [held[me] for me in self.live]


@settings(max_examples=30)
@given(st.lists(st.sampled_from("0123+-"), max_size=30))
def test_whatever_comes_and_goes_shares_become_fair_and_then_nothing_moves(story: list[str]) -> None:
    world = World()
    for step in story:
        world.step(step)
    for _ in range(len(ORGS) + 1):
        for me in world.live:
            world.renew(me)
    assert sum(world.shares) == len(ORGS)
    assert max(world.shares) - min(world.shares) <= 1
    assert not any(world.renew(me) for me in world.live)
