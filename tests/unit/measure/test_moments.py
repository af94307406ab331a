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


def test_the_worst_recent_lag_is_remembered() -> None:
    """What any attempt's write told is held against the pods of all, for a while."""
    lags = Lags()
    lags.note(Lag(0.0, 0.5))
    lags.note(Lag(0.0, 0.1))
    assert 0.5 == lags.possible


def test_an_old_lag_is_forgotten() -> None:
    """After sixteen attempts a lag says nothing of today."""
    lags = Lags()
    lags.note(Lag(0.0, 0.5))
    for _ in range(32):
        lags.note(Lag(0.0, 0.1))
    assert 0.1 == lags.possible
