"""What is left out of texts, and what stays in them."""

import pytest

from khealth_exporter.cluster.redaction import redacted, secrets_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("407, url='http://joe:s3cr%40t@127.0.0.1:7129'", "407, url='http://127.0.0.1:7129'"),
        ("http://joe:s3/cr@host:1 x", "http://host:1 x"),
        ("https://joe:s3@cr@host/a", "https://host/a"),
        ("https://s3cr@host:1/", "https://host:1/"),
        ("socks5://joe:s3cr@host", "socks5://host"),
        ("Authorization: Bearer s3cr", "Authorization: [redacted]"),
        ("{'Proxy-Authorization': 'Basic czNjcg=='}", "{'Proxy-Authorization': [redacted]'}"),
        ("got Bearer s3crs3cr", "got Bearer [redacted]"),
        ("got basic am9lOnM=", "got basic [redacted]"),
        ("eyJhbGciOi.eyJhYmM.s3cr_x expired", "[redacted] expired"),
        ("k8s-aws-v1.s3cr expired", "[redacted] expired"),
        ("sha256~s3crs3crs3crs3crs3crs3cr", "[redacted]"),
        ("/x?token=s3cr&a=b", "/x?token=[redacted]&a=b"),
        ("--password=s3cr no", "--password=[redacted] no"),
        ('{"token": "s3cr", "a": 1}', '{"token": [redacted], "a": 1}'),
        ('{"clientKeyData":"s3cr"}', '{"clientKeyData":[redacted]}'),
        ("-----BEGIN RSA PRIVATE KEY-----\\ns3cr\\n-----END RSA PRIVATE KEY----- z", "[redacted] z"),
        ("-----BEGIN PRIVATE KEY----- s3cr", "[redacted]"),
    ],
)
def test_what_looks_like_a_secret_is_left_out(text: str, shown: str) -> None:
    """The user part of a URL, headers, tokens, passwords and keys; the rest stays."""
    assert (shown, False) == (redacted(text), "s3" in redacted(text))


@pytest.mark.parametrize(
    "text",
    [
        "https://host:80/path?mail=a@b",
        "registry.k8s.io/pause:3.10.1@sha256:abc",
        "Basic authentication is off",
        "invalid bearer token",
        "couldn't find key token in Secret khealth/a",
        'Post "https://webhook.svc:443/v?timeout=10s": dial tcp 10.0.0.1:443: connection refused',
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """A note must still say what happened."""
    assert text == redacted(text)


def test_a_known_secret_is_left_out_wherever_it_is() -> None:
    """Unless it is so short that it is part of many words."""
    assert "[redacted]x at once" == redacted("hunter22x at once", ["hunter22", "at", ""])


@pytest.mark.parametrize(
    ("authorization", "text"),
    [
        ("Bearer hunter22", "you sent hunter22"),
        ("Basic am9lOnMzY3JAdA==", "you sent am9lOnMzY3JAdA=="),
        ("Basic am9lOnMzY3JAdA==", "you sent joe:s3cr@t"),
        ("Basic am9lOnMzY3JAdA==", "you sent s3cr@t"),
        ("Basic am9lOnMzY3JAdA==", "you sent s3cr%40t"),
    ],
)
def test_a_header_is_a_secret_in_every_form(authorization: str, text: str) -> None:
    """Also what Base64 has wrapped."""
    assert "you sent [redacted]" == redacted(text, secrets_of(authorization))
