"""How late watches show what was written."""

from khealth_exporter.measure.moments import Lag, Lags


def test_the_lag_of_a_write_lies_between_its_answer_and_its_sending() -> None:
    """Seen after the answer: late for sure; since the sending: perhaps."""
    assert Lag(0.25, 0.75) == Lag.of_write(1.0, 1.5, 1.75)


def test_a_write_that_is_seen_before_its_answer_is_not_late_for_sure() -> None:
    """The watch may be faster than the answer."""
    assert Lag(0.0, 0.25) == Lag.of_write(1.0, 1.5, 1.25)


def test_the_worse_of_two_lags_is_worse_in_both() -> None:
    """Neither figure is forgotten."""
    assert Lag(2.0, 5.0) == Lag(1.0, 5.0).or_worse(Lag(2.0, 3.0))


def possible(*seconds: float) -> float:
    """Return how late the watches may be after writes that were so late."""
    lags = Lags()
    for late in seconds:
        lags.note(Lag(0.0, late))
    return lags.possible


def test_without_a_write_no_lag_is_known() -> None:
    """There is nothing to estimate from."""
    assert 0.0 == possible()


def test_of_few_writes_four_times_the_worst_counts() -> None:
    """What any attempt's write told is held against the pods of all, for a while."""
    assert 2.0 == possible(0.5, *[0.125] * 8)


def test_of_many_writes_the_slowest_are_left_out() -> None:
    """They tell of their own attempts; more than one in ten tell of the cluster."""
    assert 0.5 == possible(*[5.0] * 5, *[0.125] * 45)
    assert 2.0 == possible(*[5.0] * 5, 0.5, *[0.125] * 44)


def test_an_old_lag_is_forgotten() -> None:
    """After thirty-two attempts it says nothing of today."""
    assert 0.5 == possible(*[0.5] * 64, *[0.125] * 64)
