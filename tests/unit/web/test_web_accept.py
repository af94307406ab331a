"""Quality values: what a client does not accept, or likes less, is not sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khealth_exporter.web.accept import gzip_accepted
from khealth_exporter.web.handlers import _encoder

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=underscores;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("GZip", True),
        ("x-gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("gzip;q=0", False),
        ("gzip; q=0", False),
        ("gzip ; Q=0.000", False),
        ("gzip;q=0.001", True),
        ("gzip;q=1.000", True),
        ("deflate, gzip;q=0, *", False),
        ("gzip;q=0, x-gzip", True),
        ("*", True),
        ("*;q=0", False),
        ("*;q=0, gzip", True),
        ("identity", False),
        ("identity;q=0", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("identity;q=0.5, gzip", True),
        ("identity;q=0.5, *;q=0.7", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("gzip;q=x", False),
        ("gzip;q=", False),
        ("gzip;q=-1", False),
        ("gzip;q=nan", False),
        ("gzipped", False),
        (",, ;q=1,", False),
    ],
)
def test_gzip_is_sent_to_a_client_that_accepts_it(header: str, expected: bool) -> None:
    """As RFC 9110 has it, section 12.5.3; what cannot be read does not count as accepted."""
    assert expected is gzip_accepted(header)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/plain", PLAIN),
        ("application/openmetrics-text;version=1.0.0", OPEN),
        ("application/openmetrics-text;version=1.0.0;q=0", PLAIN),
        ("application/openmetrics-text;q=0;version=1.0.0, */*", PLAIN),
        ("application/openmetrics-text;version=1.0.0;q=0.5, text/plain;version=0.0.4", PLAIN),
        ("application/openmetrics-text;version=1.0.0;q=0.5, text/plain;version=0.0.4;q=0.4", OPEN),
        ("text/plain;version=0.0.4;q=0.4, application/openmetrics-text;version=1.0.0;q=0.5", OPEN),
        ("text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0", OPEN),
        ("application/json, application/openmetrics-text;version=1.0.0;q=0.1", OPEN),
        ("application/openmetrics-text;version=x, application/openmetrics-text;version=1.0.0", OPEN),
        (PROMETHEUS_2, OPEN),
        (PROMETHEUS_3, OPEN),
    ],
)
def test_metrics_have_the_format_that_a_client_likes_best(header: str, expected: str) -> None:
    """Among equal ones the richer format."""
    assert expected == _encoder(header)[1]


@given(st.text(st.sampled_from("gzip;q=01.9*,/ version=application/openmetrics-text"), max_size=60))
def test_no_header_is_an_error(header: str) -> None:
    """Any client can send anything."""
    gzip_accepted(header)
    _encoder(header)
