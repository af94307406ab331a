"""The types that settings are made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from khealth_exporter.vocabulary.settings import (
    NEVER,
    Duration,
    MeasurementSettings,
    Name,
    Settings,
    format_duration,
    format_moment,
    parse_duration,
    parse_moment,
)

NAMES: TypeAdapter[str] = TypeAdapter(Name)


class Timed(Settings):
    """Settings with one duration."""

    timeout: Duration = 1.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("5s", 5.0),
        ("1.5s", 1.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1m30s", 90.0),
        ("1h1m1s1ms", 3661.001),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """A number with its unit, or several from large to small."""
    assert seconds == parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "5", "5.0", "s", "5 s", " 5s", "5s ", "5S", "-5s", "+5s", "5d", "1s1m", "1.5m", "5s\n", "1e3s", ".5s", "∞s", 5, 5.0, None, True]
)  # fmt: skip
def test_anything_else_is_refused(text: object) -> None:
    """A bare number above all: nothing would say whether seconds or milliseconds were meant."""
    with pytest.raises(ValueError, match="is not a duration: write a number with its unit"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "500ms"),
        (5.0, "5s"),
        (1.5, "1500ms"),
        (90.0, "90s"),
        (120.0, "2m"),
        (3600.0, "1h"),
        (5400.0, "90m"),
        (0.0, "0s"),
    ],
)
def test_durations_are_written_as_short_as_can_be(seconds: float, text: str) -> None:
    """The largest unit that says it without loss."""
    assert text == format_duration(seconds)


@given(st.integers(1, 7 * 86_400_000))
def test_what_is_written_can_be_read(milliseconds: int) -> None:
    """Writing and reading a duration of whole milliseconds changes nothing."""
    seconds = milliseconds / 1000
    assert seconds == parse_duration(format_duration(seconds))


@given(
    st.from_regex(
        r"(\d{1,3}h)?(\d{1,4}m)?(\d{1,5}(\.\d{1,6})?s)?(\d{1,6}ms)?", fullmatch=True, alphabet="0123456789.hms"
    )
)
def test_what_is_read_can_be_written(text: str) -> None:
    """Whatever can be read is written as something that reads as the same."""
    if text:
        seconds = parse_duration(text)
        assert seconds == parse_duration(format_duration(seconds))


@pytest.mark.parametrize("value", [5, 0.5, "5", None, True])
def test_a_file_has_to_name_the_unit(value: object) -> None:
    """A bare number in a file is refused, integer or not."""
    with pytest.raises(ValidationError, match="timeout"):
        Timed.model_validate_json('{"timeout": ' + str(value).lower().replace("none", "null") + "}")


@pytest.mark.parametrize("text", ["0s", "0ms", "0.0001s", "169h", "99999999h"])
def test_a_duration_has_bounds(text: str) -> None:
    """Nothing, and more than a week, are refused."""
    with pytest.raises(ValidationError, match="timeout"):
        Timed.model_validate({"timeout": text})


def test_our_own_code_says_seconds() -> None:
    """A number from the command line's own parser is taken as it is."""
    assert 2.5 == Timed.model_validate({"timeout": 2.5}).timeout


def test_settings_are_written_as_a_file_has_them() -> None:
    """What `/config` shows can be put into a file."""
    assert {"loop_lag": "20ms", "watch_lag": "50ms"} == MeasurementSettings().model_dump()


def test_unknown_keys_are_refused() -> None:
    """A slip of the pen is no silent default."""
    with pytest.raises(ValidationError, match="tiemout"):
        Timed.model_validate({"tiemout": "5s"})


def test_settings_are_frozen() -> None:
    """Nobody changes them under way."""
    with pytest.raises(ValidationError, match="frozen"):
        Timed().timeout = 5.0  # type: ignore[misc]


@pytest.mark.parametrize("name", ["a", "rcscheduler", "on-arm64", "a1", "a" * 30])
def test_names_that_can_be_a_label(name: str) -> None:
    """Lower case letters, digits and hyphens, as Kubernetes has it."""
    assert name == NAMES.validate_python(name)


@pytest.mark.parametrize("name", ["", "A", "1a", "-a", "a-", "a_b", "a.b", "a b", "ä", "a\n", "a" * 31])
def test_names_that_cannot(name: str) -> None:
    """They would break the names of pods."""
    with pytest.raises(ValidationError):
        NAMES.validate_python(name)


@given(st.integers(1, 32_503_680_000))
def test_a_moment_is_read_as_it_is_written(seconds: int) -> None:
    """To the second."""
    assert float(seconds) == parse_moment(format_moment(float(seconds)))


def test_no_moment_is_an_empty_text() -> None:
    """It lies before every other."""
    assert ("", NEVER) == (format_moment(NEVER), parse_moment(""))


@pytest.mark.parametrize(
    "text", ["2026-12-24T06:00Z", "2026-12-24T07:30:00+01:30", "2026-12-23T23:00:00-07:00", "2026-12-24T06:00:00Z"]
)
def test_a_moment_may_have_any_time_zone(text: str) -> None:
    """And no seconds."""
    assert "2026-12-24T06:00:00Z" == format_moment(parse_moment(text))


@given(st.one_of(st.text(), st.integers(), st.none(), st.floats()))
def test_what_is_no_moment_is_refused(value: object) -> None:
    """With a sentence; nothing else is raised."""
    if value != "":
        with pytest.raises(ValueError, match=r"is not a time|has no time zone"):
            parse_moment(value)


@pytest.mark.parametrize("text", ["0000-01-01T00:00Z", "9999-12-31T23:59:00-07:00", "2026-02-30T06:00Z"])
def test_a_moment_outside_of_the_calendar_is_refused(text: str) -> None:
    """What is accepted can be written again."""
    with pytest.raises(ValueError, match="is not a time"):
        parse_moment(text)


@pytest.mark.parametrize("text", ["2026-12-24T06:00:00", "2026-12-24T06:00"])
def test_a_moment_needs_a_time_zone(text: str) -> None:
    """Or it would depend on the machine."""
    with pytest.raises(ValueError, match="has no time zone: add Z"):
        parse_moment(text)
