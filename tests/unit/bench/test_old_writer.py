"""The comparison of ADR 0031: close the old writer of a cluster, or deregister it too."""

from bench.old_writer import old_writer


def test_a_closed_old_writer_is_left_sooner_and_stays_warm() -> None:
    for index in range(5):
        closed = old_writer("close", index)
        deregistered = old_writer("close and deregister", index)
        assert closed.reached == deregistered.reached > 0
        assert closed.reached < closed.left
        # A registration takes 90 to 180 s in this world.
        assert closed.warm == 0
        assert deregistered.warm > 90
        assert closed.calls < deregistered.calls


def test_the_load_balancer_leaves_a_closed_target_after_two_failed_checks() -> None:
    for index in range(5):
        closed = old_writer("close", index)
        # Two checks every 5 s with a time-out of 4 s, the first one up to 5 s after the effect.
        assert 9 <= closed.left - closed.reached <= 14
