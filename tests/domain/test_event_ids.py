"""Ids kept as hashes are what ids kept as texts are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.event_ids import NONE_YET, RECENT, RecentIds

BATCHES = st.lists(st.lists(st.integers(0, 900).map(str), max_size=300, unique=True), max_size=5)


@given(BATCHES)
def test_hashes_tell_what_the_ids_themselves_would_tell(batches: list[list[str]]) -> None:
    plain: tuple[str, ...] = ()
    packed = NONE_YET
    for batch in batches:
        plain = (*plain, *(id_ for id_ in batch if id_ not in plain))[-RECENT:]
        packed = packed.followed_by(batch)
    lookup = packed.lookup()
    assert packed == RecentIds.of(plain)
    assert [id_ in lookup for id_ in map(str, range(900))] == [id_ in plain for id_ in map(str, range(900))]
    assert len(packed) == len(lookup) == len(plain)
    assert packed.same(RecentIds.of(reversed(plain)))
    assert not packed.same(packed.followed_by(["another"]))
