"""Ids kept as hashes are what ids kept as texts are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.event_ids import NONE_YET, RECENT, RecentIds

BATCHES = st.lists(st.lists(st.integers(0, 900).map(str), max_size=300, unique=True), max_size=5)


@given(BATCHES, st.sampled_from([0, 100, 250]))
def test_hashes_tell_what_the_ids_themselves_would_tell(batches: list[list[str]], span: int) -> None:
    most = max(RECENT, span + RECENT - 100)
    plain: tuple[str, ...] = ()
    packed = NONE_YET
    for batch in batches:
        plain = (*plain, *(id_ for id_ in batch if id_ not in plain))[-most:]
        packed = packed.followed_by(batch, span)
    lookup = packed.lookup()
    assert packed == RecentIds.of(plain, span)
    assert [id_ in lookup for id_ in map(str, range(900))] == [id_ in plain for id_ in map(str, range(900))]
    assert len(packed) == len(lookup) == len(plain)
    assert packed.same(RecentIds.of(reversed(plain), span))
    assert not packed.same(packed.followed_by(["another"], span))
    assert lookup.hold(RecentIds.of(plain[:5]))
    assert not lookup.hold(RecentIds.of([*plain[:5], "another"]))
