from monitor.courier.lanes import Lanes


def test_notifiers_of_one_lane_take_turns_with_a_gap_after_each_sending() -> None:
    lanes = Lanes()
    ours, theirs = lanes.lane("slack:C1", 1.0), lanes.lane("slack:C1", 1.0)
    assert ours.take(10.0)
    assert not theirs.take(10.5)
    assert theirs.wait(10.5) > 0
    ours.release(12.0, used=True)
    assert theirs.wait(12.25) == 0.75
    assert theirs.take(13.0)


def test_a_turn_that_was_not_used_costs_nothing() -> None:
    lane = Lanes().lane("slack:C1", 1.0)
    assert lane.take(10.0)
    lane.release(10.0, used=False)
    assert lane.take(10.0)


def test_without_a_gap_nobody_waits_for_the_other() -> None:
    lane = Lanes().lane("webhook:ops", 0.0)
    assert lane.take(10.0)
    assert lane.take(10.0)
    lane.release(11.0, used=True)
    assert lane.wait(11.0) == 0


def test_a_pause_holds_the_lane_and_a_shorter_one_does_not_end_it() -> None:
    lanes = Lanes()
    lanes.lane("a", 0.0).pause(20.0)
    lanes.lane("a", 0.0).pause(15.0)
    assert lanes.lane("a", 0.0).wait(12.0) == 8.0
    assert lanes.lane("b", 0.0).take(12.0)
