"""The web configuration file: valid settings, and errors."""

import contextlib
import ssl
import subprocess
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from serving import ANNA, TLS, Keys, keys
from tools import needs

from khealth_exporter.config.problem import ConfigError
from khealth_exporter.web.security.tls_context import _CIPHERS, _OF_TLS13
from khealth_exporter.web.security.web_config import RateLimit, WebConfig, load_web_config

EXAMPLE = Path(__file__).parents[3] / "docs" / "web-config.yaml"


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Return a folder with certificates."""
    made = keys(tmp_path_factory.mktemp("keys"))
    made.issue("other")
    made.write("no PEM at all", "garbage.pem")
    made.write("", "empty.pem")
    locked = serialization.BestAvailableEncryption(b"password")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    made.write(pem.decode(), "locked.key")
    return made


def read(issued: Keys, text: str) -> WebConfig:
    """Return what a configuration says."""
    return load_web_config(issued.write(text)).usable()


def test_an_empty_file_means_no_protection(issued: Keys) -> None:
    """An empty file is a configuration, as it is for the exporter-toolkit."""
    assert WebConfig() == read(issued, "")


def test_empty_sections_are_ignored(issued: Keys) -> None:
    """As if they were absent."""
    assert WebConfig() == read(issued, "tls_server_config:\nbasic_auth_users:\nrate_limit:\nhttp_server_config:\n")


def test_files_are_relative_to_the_configuration(issued: Keys) -> None:
    """So that the folder can be mounted anywhere."""
    assert read(issued, f"{TLS}}}").tls is not None


def test_certificates_can_be_text(issued: Keys) -> None:
    """`cert`, `key` and `client_ca` contain the PEM text."""
    texts = {
        "cert": (issued.folder / "server.pem").read_text(),
        "key": (issued.folder / "server.key").read_text(),
        "client_ca": (issued.folder / "ca.pem").read_text(),
        "client_auth_type": "RequireAndVerifyClientCert",
    }
    tls = read(issued, yaml.safe_dump({"tls_server_config": texts})).tls
    assert tls is not None
    assert ssl.CERT_REQUIRED == tls.verify_mode


@pytest.mark.parametrize(
    ("keys_of_tls", "expected"),
    [
        ("", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)),
        (", min_version: TLS13", (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)),
        (", max_version: TLS12", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)),
        (", cipher_suites: [TLS_AES_128_GCM_SHA256]", (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)),
    ],
)
def test_versions_are_bounded(issued: Keys, keys_of_tls: str, expected: tuple[ssl.TLSVersion, ssl.TLSVersion]) -> None:
    """At least TLS 1.2; TLS 1.3 if all listed suites are for TLS 1.3."""
    tls = read(issued, f"{TLS}{keys_of_tls}}}").tls
    assert tls is not None
    assert expected == (tls.minimum_version, tls.maximum_version)


def test_cipher_suites_have_their_names_in_go(issued: Keys) -> None:
    """In order of preference. Suites of TLS 1.3 cannot be selected, as in Go."""
    names = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
    tls = read(issued, f"{TLS}, cipher_suites: [{names}]}}").tls
    assert tls is not None
    older = [suite["name"] for suite in tls.get_ciphers() if not suite["name"].startswith("TLS_")]
    expected = ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
    assert expected == older


@pytest.mark.parametrize("wanted", [True, False])
def test_the_preferred_side_for_cipher_suites_can_be_set(issued: Keys, *, wanted: bool) -> None:
    """`prefer_server_cipher_suites` sets an option of OpenSSL."""
    tls = read(issued, f"{TLS}, prefer_server_cipher_suites: {str(wanted).lower()}}}").tls
    assert tls is not None
    assert wanted == bool(tls.options & ssl.OP_CIPHER_SERVER_PREFERENCE)


@pytest.mark.parametrize("curve", ["CurveP256", "CurveP384", "CurveP521", "X25519"])
def test_one_curve_can_be_chosen(issued: Keys, curve: str) -> None:
    """OpenSSL supports every curve of the format."""
    assert read(issued, f"{TLS}, curve_preferences: [{curve}]}}").tls is not None


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("NoClientCert", ssl.CERT_NONE),
        ("RequestClientCert", ssl.CERT_NONE),
        ("VerifyClientCertIfGiven", ssl.CERT_OPTIONAL),
        ("RequireAndVerifyClientCert", ssl.CERT_REQUIRED),
    ],
)
def test_client_auth_type_sets_the_verification_mode(issued: Keys, kind: str, mode: ssl.VerifyMode) -> None:
    """A certificate is either verified or not requested."""
    authority = "" if kind == "NoClientCert" else ", client_ca_file: ca.pem"
    tls = read(issued, f"{TLS}, client_auth_type: {kind}{authority}}}").tls
    assert tls is not None
    assert mode == tls.verify_mode


def test_ip_addresses_are_compared_in_canonical_form(issued: Keys) -> None:
    """An IP address can be written in more than one way."""
    text = f"{TLS}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, client_allowed_sans: ['0::1', a]}}"
    assert {"::1", "a"} == read(issued, text).allowed_sans


def test_users_headers_and_rate_are_read(issued: Keys) -> None:
    """In the other sections."""
    text = f"""
basic_auth_users: {{anna: {ANNA}}}
http_server_config: {{headers: {{X-Frame-Options: sameorigin}}}}
rate_limit: {{interval: 500ms, burst: 20}}
"""
    config = read(issued, text)
    expected = ({"anna": ANNA.encode()}, {"X-Frame-Options": "sameorigin"}, RateLimit(0.5, 20))
    assert expected == (config.users, config.headers, config.rate_limit)


def test_an_interval_of_zero_means_no_limit(issued: Keys) -> None:
    """As in the exporter-toolkit."""
    assert read(issued, "rate_limit: {interval: 0, burst: 0}").rate_limit is None


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("http_server_config: {http2: true}", "http2 has no effect: khealth speaks HTTP/1.1"),
        ("http_server_config: {http2: false}", None),
        (f"basic_auth_users: {{anna: {ANNA}}}", "basic_auth_users without tls_server_config: passwords are sent in clear text"),
        (f"{TLS}, client_auth_type: RequestClientCert}}", "client_auth_type RequestClientCert requests no certificate: unverified ones are not accepted"),
        (f"{TLS}}}\nbasic_auth_users: {{anna: {ANNA}}}", None),
    ],
)  # fmt: skip
def test_settings_with_less_effect_than_expected_cause_a_warning(issued: Keys, text: str, note: str | None) -> None:
    """The log contains the warnings."""
    assert (() if note is None else (note,)) == read(issued, text).warnings


SUITES = "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tls: {}", "1:1: tls: unknown key; known: basic_auth_users, http_server_config, rate_limit, tls_server_config"),
        (f"{TLS}, cert_fil: x}}", "1:66: tls_server_config.cert_fil: unknown key; did you mean cert_file?"),
        ("tls_server_config: {min_version: TLS13}", "1:20: tls_server_config: needs cert_file and key_file"),
        ("tls_server_config: {cert_file: server.pem}", "1:20: tls_server_config: needs key_file"),
        ("tls_server_config: {cert_file: gone.pem, key_file: server.key}", "1:32: tls_server_config.cert_file: FOLDER/gone.pem cannot be read: No such file or directory"),
        ("tls_server_config: {cert_file: garbage.pem, key_file: server.key}", "1:32: tls_server_config.cert_file: has no certificate in PEM format"),
        ("tls_server_config: {cert_file: empty.pem, key_file: server.key}", "1:32: tls_server_config.cert_file: has no certificate in PEM format"),
        ("tls_server_config: {cert_file: server.pem, key_file: garbage.pem}", "1:54: tls_server_config.key_file: has no key in PEM format"),
        ("tls_server_config: {cert_file: server.pem, key_file: other.key}", "1:54: tls_server_config.key_file: does not match the certificate"),
        ("tls_server_config: {cert_file: server.pem, key_file: locked.key}", "1:54: tls_server_config.key_file: is encrypted with a password; khealth supports only unencrypted keys"),
        (f"{TLS}, cert: x}}", "1:32: tls_server_config.cert_file: cannot be set together with cert: remove one of them"),
        (f"{TLS}, min_version: TLS10}}", "1:79: tls_server_config.min_version: TLS 1.0 and 1.1 are not supported (RFC 8996): write TLS12 or TLS13"),
        (f"{TLS}, max_version: TLS11}}", "1:79: tls_server_config.max_version: TLS 1.0 and 1.1 are not supported (RFC 8996): write TLS12 or TLS13"),
        (f"{TLS}, min_version: SSL3}}", "1:79: tls_server_config.min_version: must be 'TLS10', 'TLS11', 'TLS12' or 'TLS13'"),
        (f"{TLS}, min_version: TLS13, max_version: TLS12}}", "1:79: tls_server_config.min_version: TLS13 is above max_version (TLS12)"),
        (f"{TLS}, cipher_suites: [TLS_X]}}", f"1:81: tls_server_config.cipher_suites: TLS_X is unknown; known: {SUITES}, …"),
        (f"{TLS}, cipher_suites: [TLS_AES_128_GCM_SHA256], max_version: TLS12}}", "1:81: tls_server_config.cipher_suites: has no suite for TLS 1.2, and max_version is TLS12"),
        (f"{TLS}, curve_preferences: [P1]}}", "1:85: tls_server_config.curve_preferences: P1 is unknown; known: CurveP256, CurveP384, CurveP521, X25519"),
        (f"{TLS}, curve_preferences: [X25519, CurveP256]}}", "1:85: tls_server_config.curve_preferences: Python can set only one curve: write one, or remove the key to allow all"),
        (f"{TLS}, client_auth_type: RequireAnyClientCert}}", "1:84: tls_server_config.client_auth_type: unverified client certificates are not supported: write RequireAndVerifyClientCert, and set client_ca_file"),
        (f"{TLS}, client_auth_type: Require}}", "1:84: tls_server_config.client_auth_type: must be 'NoClientCert', 'RequestClientCert', 'RequireAnyClientCert', 'RequireClientCert', 'VerifyClientCertIfGiven' or 'RequireAndVerifyClientCert'"),
        (f"{TLS}, client_auth_type: VerifyClientCertIfGiven}}", "1:20: tls_server_config: needs client_ca_file (the authority that signs client certificates)"),
        (f"{TLS}, client_ca_file: ca.pem}}", "1:82: tls_server_config.client_ca_file: has no effect: client_auth_type requests no certificate"),
        (f"{TLS}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: garbage.pem}}", "1:128: tls_server_config.client_ca_file: has no certificate in PEM format"),
        (f"{TLS}, client_allowed_sans: [a]}}", "1:87: tls_server_config.client_allowed_sans: needs client_auth_type: RequireAndVerifyClientCert"),
        ("basic_auth_users: {anna: secret}", "1:26: basic_auth_users.anna: is not a bcrypt hash: create one with `htpasswd -nBC 10 USER`"),
        ("basic_auth_users: {anna: 12345}", "1:26: basic_auth_users.anna: is not a bcrypt hash: create one with `htpasswd -nBC 10 USER`"),
        (f"basic_auth_users: {{anna: {ANNA.replace('$04$', '$31$')}}}", "1:26: basic_auth_users.anna: has a bcrypt cost outside of 4 to 16: create a hash with cost 10"),
        (f"basic_auth_users: {{'an:na': {ANNA}}}", "1:29: basic_auth_users.an:na: a user name cannot contain a colon (RFC 7617)"),
        ("http_server_config: {headers: {Server: x}}", "1:31: http_server_config.headers: the header Server cannot be set; known: Strict-Transport-Security, X-Content-Type-Options, X-Frame-Options, X-XSS-Protection, Content-Security-Policy"),
        ("http_server_config: {headers: {X-Frame-Options: allow}}", "1:31: http_server_config.headers: the header X-Frame-Options must be deny or sameorigin"),
        ('http_server_config: {headers: {X-XSS-Protection: "1\\r\\nA: b"}}', "1:31: http_server_config.headers: the header X-XSS-Protection must be one line of ASCII text"),
        ("rate_limit: {interval: 1s}", "1:13: rate_limit.burst: must be at least 1, otherwise khealth rejects every request"),
        ("rate_limit: {interval: 5, burst: 1}", "1:24: rate_limit.interval: 5 is not a duration: write a number with its unit, as in 500ms, 5s or 2m"),
        ("tls_server_config: {cert_file: ., key_file: server.key}", "1:32: tls_server_config.cert_file: FOLDER cannot be read: not a regular file"),
        ("[", "1:2: invalid YAML: while parsing a flow node, expected the node content, but found '<stream end>'"),
    ],
)  # fmt: skip
def test_an_error_is_reported_with_its_place(issued: Keys, text: str, expected: str) -> None:
    """File, line, column, path, and how to fix it."""
    path = issued.write(text)
    with pytest.raises(ConfigError) as raised:
        load_web_config(path).usable()
    told = str(raised.value).replace(str(issued.folder), "FOLDER")
    if expected.endswith("…"):
        assert told.startswith(f"FOLDER/web.yaml:{expected[:-1]}")
    else:
        assert f"FOLDER/web.yaml:{expected}" == told


def test_all_errors_are_reported_at_once(issued: Keys) -> None:
    """Also errors in different sections."""
    text = "tls_server_config: {cert_file: gone.pem, key_file: gone.key}\nrate_limit: {interval: 1s}\n"
    with pytest.raises(ConfigError) as raised:
        read(issued, text)
    expected = ["tls_server_config.cert_file", "tls_server_config.key_file", "rate_limit.burst"]
    assert expected == [problem.path for problem in raised.value.problems]


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read: No such file or directory$"):
        load_web_config(tmp_path / "gone.yaml").usable()


@pytest.mark.parametrize("text", [
    "basic_auth_users: {anna: hunter2}", "basic_auth_users: {anna: 7352}", "basic_auth_users: {anna: [hunter2]}",
    "tls_server_config: {cert_file: server.pem, key: hunter2}", "tls_server_config: {cert_file: server.pem, key: 7352}",
    "tls_server_config: {key: [hunter2]}",
])  # fmt: skip
def test_no_error_contains_a_secret(issued: Keys, text: str) -> None:
    """No password, hash, or key."""
    with pytest.raises(ConfigError) as raised:
        read(issued, text)
    assert not [secret for secret in ("hunter2", "7352") if secret in str(raised.value)]


def test_the_repr_of_a_configuration_contains_no_hash(issued: Keys) -> None:
    """So that no hash gets into a log."""
    assert "$2b$" not in repr(read(issued, f"basic_auth_users: {{anna: {ANNA}}}"))


_ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2), max_leaves=4)  # fmt: skip
_KEYS = ["cert", "key", "cert_file", "key_file", "client_auth_type", "min_version", "cipher_suites", "headers", "burst"]


@given(st.dictionaries(st.sampled_from(["tls_server_config", "basic_auth_users", "http_server_config", "rate_limit"]), _ANY | st.dictionaries(st.sampled_from(_KEYS), _ANY)))  # fmt: skip
def test_any_file_is_either_accepted_or_rejected(issued: Keys, document: dict[str, object]) -> None:
    """No file causes an internal error."""
    with contextlib.suppress(ConfigError):
        read(issued, yaml.safe_dump(document))


def test_the_example_is_valid(issued: Keys) -> None:
    """With the certificates that it names."""
    config = read(issued, EXAMPLE.read_text(encoding="utf-8"))
    assert config.tls is not None
    assert (ssl.CERT_REQUIRED, {"prometheus"}) == (config.tls.verify_mode, set(config.users))


@pytest.mark.parametrize("text", [
    EXAMPLE.read_text(encoding="utf-8"),
    f"{TLS}, min_version: TLS13, curve_preferences: [X25519], prefer_server_cipher_suites: false}}",
    f"{TLS}, cipher_suites: [{', '.join((*_CIPHERS, *_OF_TLS13))}]}}",
    f"{TLS}, client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem, client_allowed_sans: [a]}}",
    f"basic_auth_users: {{anna: {ANNA}, otto: {ANNA.replace('$2b$', '$2y$')}}}\nrate_limit: {{interval: 500ms, burst: 3}}",
    "http_server_config: {http2: false, headers: {X-Frame-Options: deny, X-Content-Type-Options: nosniff, X-XSS-Protection: '0', Content-Security-Policy: a, Strict-Transport-Security: b}}",
    "",
], ids=["example", "tls", "suites", "clients", "users", "headers", "empty"])  # fmt: skip
def test_promtool_accepts_the_same_files(issued: Keys, text: str) -> None:
    """The format is that of the exporter-toolkit."""
    path = issued.write(text, "shared.yaml")
    load_web_config(path).usable()
    done = subprocess.run([needs("promtool"), "check", "web-config", path], capture_output=True, text=True, check=False)  # noqa: S603
    assert (0, "", f"{path} SUCCESS\n") == (done.returncode, done.stdout, done.stderr)
