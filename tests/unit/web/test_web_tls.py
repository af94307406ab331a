"""TLS: verification of clients, and reload of certificates."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from serving import ANNA, HOST, PATIENCE, TLS, Keys, keys, served, talk
from structlog.testing import capture_logs

from khealth_exporter.web.security.active_web_config import ActiveWebConfig
from khealth_exporter.web.server import WebServer

REQUIRED = f"{TLS}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem"
READY = (200, "ready\n")


@pytest.fixture
def issued(tmp_path: Path) -> Keys:
    """Return a folder with certificates."""
    return keys(tmp_path)


@pytest.fixture
def logged() -> Iterator[list[dict[str, object]]]:
    """Yield the log entries."""
    with capture_logs() as entries:
        yield entries  # type: ignore[misc]


async def renew(web_config: ActiveWebConfig, server: WebServer) -> bool:
    """Check the files until a change takes effect; return whether it did."""
    renewed = False
    for _ in range(3):
        if await web_config.check_files():
            server._connections.drain()
            renewed = True
    return renewed


async def answered(server: WebServer, context: ssl.SSLContext) -> bool:
    """Return whether a client is answered."""
    with contextlib.suppress(ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
        async with talk(server, context) as client:
            return READY == await client.ask()
    return False


async def shown(server: WebServer, context: ssl.SSLContext) -> bytes:
    """Return the certificate that a new connection receives."""
    async with talk(server, context) as client:
        return client.certificate()


def der(folder: Path) -> bytes:
    """Return the server's certificate on disk."""
    text = (folder / "server.pem").read_text()
    return ssl.PEM_cert_to_DER_cert(text[: text.index("-----END CERTIFICATE-----") + 25])


async def test_a_scrape_over_tls_is_answered(issued: Keys) -> None:
    """With a client that trusts the authority."""
    async with served(issued.write(f"{TLS}}}")) as (server, _):
        assert await answered(server, issued.client())


async def test_a_plain_text_request_to_a_tls_port_is_not_answered(issued: Keys) -> None:
    """The connection is closed."""
    async with served(issued.write(f"{TLS}}}")) as (server, _), talk(server) as client:
        await client.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await client.ended()


@pytest.mark.parametrize(("least", "spoken"), [("TLS12", ["TLSv1.2", "TLSv1.3"]), ("TLS13", ["TLSv1.3"])])
async def test_the_minimum_tls_version_is_enforced(issued: Keys, least: str, spoken: list[str]) -> None:
    """The handshake of an older version fails."""
    clients = {
        "TLSv1.2": issued.client(maximum_version=ssl.TLSVersion.TLSv1_2),
        "TLSv1.3": issued.client(minimum_version=ssl.TLSVersion.TLSv1_3),
    }
    async with served(issued.write(f"{TLS}, min_version: {least}}}")) as (server, _):
        assert spoken == [name for name, client in clients.items() if await answered(server, client)]


@pytest.mark.parametrize(
    ("kind", "welcome"),
    [
        ("RequireAndVerifyClientCert", ["ours"]),
        ("VerifyClientCertIfGiven", ["", "ours"]),
        ("RequestClientCert", ["", "ours", "stranger"]),
    ],
)
async def test_client_certificates_are_verified_as_configured(issued: Keys, kind: str, welcome: list[str]) -> None:
    """None, one of the configured authority, and one of another."""
    issued.issue("ours", "prometheus")
    Keys(issued.folder, trustme.CA()).issue("stranger", "prometheus")
    text = f"{TLS}, client_auth_type: {kind}, client_ca_file: ca.pem}}"
    async with served(issued.write(text)) as (server, _):
        clients = ["", "ours", "stranger"]
        assert welcome == [name for name in clients if await answered(server, issued.client(name))]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_certificate_with_an_allowed_name_is_accepted(issued: Keys, version: ssl.TLSVersion) -> None:
    """One of `client_allowed_sans`, with addresses in any form."""
    issued.issue("ours", "elsewhere", "::1")
    text = f"{REQUIRED}, client_allowed_sans: [prometheus, '0:0::1']}}"
    context = issued.client("ours", minimum_version=version, maximum_version=version)
    async with served(issued.write(text)) as (server, _):
        assert await answered(server, context)


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/nowhere"])
async def test_a_certificate_without_an_allowed_name_is_rejected_on_every_path(issued: Keys, path: str) -> None:
    """With 403, and the connection is closed."""
    issued.issue("ours", "elsewhere")
    text = f"{REQUIRED}, client_allowed_sans: [prometheus]}}"
    async with served(issued.write(text)) as (server, _), talk(server, issued.client("ours")) as client:
        code = (await client.ask(path))[0]
        assert (403, True) == (code, await client.ended())


async def test_a_client_without_an_optional_certificate_is_accepted(issued: Keys) -> None:
    """`client_allowed_sans` applies only to clients with a certificate, as in the exporter-toolkit."""
    text = f"{TLS}, client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem, client_allowed_sans: [a]}}"
    async with served(issued.write(text)) as (server, _):
        assert await answered(server, issued.client())


async def test_a_new_certificate_is_served(issued: Keys) -> None:
    """To new connections, without a restart."""
    async with served(issued.write(f"{TLS}}}")) as (server, web_config):
        before = await shown(server, issued.client())
        issued.issue()
        assert await renew(web_config, server)
        after = await shown(server, issued.client())
        assert (True, der(issued.folder)) == (before != after, after)


async def test_a_replaced_secret_volume_is_a_change(tmp_path: Path) -> None:
    """Kubernetes replaces the symbolic link `..data`."""
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        keys(tmp_path / name)
    data = tmp_path / "..data"
    data.symlink_to("1")
    path = tmp_path / "web.yaml"
    path.write_text("tls_server_config: {cert_file: ..data/server.pem, key_file: ..data/server.key}")
    trusting = ssl.create_default_context(cadata=(tmp_path / "2" / "ca.pem").read_text())
    async with served(path) as (server, web_config):
        assert not await answered(server, trusting)
        (tmp_path / "new").symlink_to("2")
        (tmp_path / "new").rename(data)
        assert await renew(web_config, server)
        assert await answered(server, trusting)


async def test_a_new_client_authority_takes_effect(issued: Keys) -> None:
    """Clients of the new authority are accepted, and those of the old one rejected."""
    issued.issue("ours", "prometheus")
    other = Keys(issued.folder, trustme.CA())
    other.issue("theirs", "prometheus")
    async with served(issued.write(f"{REQUIRED}}}")) as (server, web_config):
        other.authority.cert_pem.write_to_path(str(issued.folder / "ca.pem"))
        assert await renew(web_config, server)
        found = {name: await answered(server, issued.client(name)) for name in ("ours", "theirs")}
        assert {"ours": False, "theirs": True} == found


async def test_client_certificates_can_become_required(issued: Keys) -> None:
    """By a change of client_auth_type."""
    async with served(issued.write(f"{TLS}}}")) as (server, web_config):
        assert await answered(server, issued.client())
        issued.write(f"{REQUIRED}}}")
        assert await renew(web_config, server)
        assert not await answered(server, issued.client())


async def test_a_reload_closes_old_connections(issued: Keys) -> None:
    """They were opened under the previous configuration."""
    async with served(issued.write(f"{TLS}}}")) as (server, web_config), talk(server, issued.client()) as client:
        assert READY == await client.ask()
        issued.write(f"{REQUIRED}}}")
        assert await renew(web_config, server)
        assert await client.ended()


async def test_the_files_are_checked_periodically(issued: Keys) -> None:
    """Without a signal or a request."""
    web_config = ActiveWebConfig(issued.write(f"{TLS}}}"))
    renewed = asyncio.Event()
    issued.issue()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        following = group.create_task(web_config.reload_on_change(renewed.set, period=0.01))
        await renewed.wait()
        following.cancel()
    assert renewed.is_set()


async def test_an_internal_error_in_a_check_does_not_end_the_checks(
    issued: Keys, logged: list[dict[str, object]]
) -> None:
    """It is logged, and the configuration stays active."""
    web_config = ActiveWebConfig(issued.write(f"{TLS}}}"))
    looks: list[bool | Exception] = [RuntimeError("a bug"), True]
    renewed = asyncio.Event()

    async def look() -> bool:
        found = looks.pop(0) if looks else False
        if isinstance(found, Exception):
            raise found
        return found

    web_config.check_files = look  # type: ignore[method-assign]
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        following = group.create_task(web_config.reload_on_change(renewed.set, period=0.001))
        await renewed.wait()
        following.cancel()
    assert ["a bug"] == [str(entry["exc_info"]) for entry in logged if entry["log_level"] == "error"]


async def test_a_half_written_file_is_not_loaded(issued: Keys) -> None:
    """Two checks in a row must see the same content."""
    path = issued.write(f"{TLS}}}\nbasic_auth_users: {{anna: {ANNA}}}")
    web_config = ActiveWebConfig(path)
    issued.write(f"{TLS}}}")
    first = await web_config.check_files()
    issued.write(f"{TLS}}}\nbasic_auth_users: {{anna: {ANNA}, otto: {ANNA}}}")
    second = await web_config.check_files()
    third = await web_config.check_files()
    assert ((False, False, True), ["anna", "otto"]) == ((first, second, third), list(web_config.config.users))


async def test_a_certificate_without_its_key_is_rejected(issued: Keys, logged: list[dict[str, object]]) -> None:
    """One error is logged, and the old pair stays active until the new one is complete."""
    async with served(issued.write(f"{TLS}}}")) as (server, web_config):
        before = await shown(server, issued.client())
        old_key = (issued.folder / "server.key").read_bytes()
        issued.issue()
        new_key = (issued.folder / "server.key").read_bytes()
        (issued.folder / "server.key").write_bytes(old_key)
        for _ in range(3):
            assert not await renew(web_config, server)
        assert before == await shown(server, issued.client())
        (issued.folder / "server.key").write_bytes(new_key)
        assert await renew(web_config, server)
        assert der(issued.folder) == await shown(server, issued.client())
    errors = [entry for entry in logged if entry["log_level"] == "error"]
    assert ["web configuration refused: the previous one stays active"] == [entry["event"] for entry in errors]
    assert "does not match the certificate" in str(errors[0]["problems"])


async def test_a_missing_file_is_rejected_until_it_exists(issued: Keys) -> None:
    """The configuration may be updated before the file."""
    web_config = ActiveWebConfig(issued.write(f"{TLS}}}"))
    issued.write(REQUIRED.replace("ca.pem", "late.pem") + "}")
    found = [await web_config.check_files() for _ in range(3)]
    issued.authority.cert_pem.write_to_path(str(issued.folder / "late.pem"))
    found += [await web_config.check_files() for _ in range(2)]
    assert [False, False, False, False, True] == found


@pytest.mark.parametrize(("before", "after"), [(f"{TLS}}}", ""), ("", f"{TLS}}}")])
async def test_tls_cannot_be_turned_on_or_off_by_a_reload(
    issued: Keys, logged: list[dict[str, object]], before: str, after: str
) -> None:
    """Prometheus is configured for one scheme. The log contains the reason."""
    web_config = ActiveWebConfig(issued.write(before))
    issued.write(after)
    assert not any([await web_config.check_files() for _ in range(3)])
    assert "restart khealth to turn TLS on or off" in str(logged)


@pytest.mark.parametrize("text", ["", "null", "---", "basic_auth_users:", "rate_limit: {interval: 1s, burst: 5}", "{}"])
async def test_an_emptied_file_does_not_turn_authentication_off(issued: Keys, text: str) -> None:
    """A truncated file, a deleted Secret, or an empty template must not allow access to all."""
    path = issued.write(f"basic_auth_users: {{anna: {ANNA}}}")
    web_config = ActiveWebConfig(path)
    issued.write(text)
    assert not any([await web_config.check_files() for _ in range(3)])
    assert {"anna": ANNA.encode()} == web_config.config.users


async def test_an_explicit_empty_mapping_turns_authentication_off(issued: Keys) -> None:
    """The file states it explicitly."""
    web_config = ActiveWebConfig(issued.write(f"basic_auth_users: {{anna: {ANNA}}}"))
    issued.write("basic_auth_users: {}")
    assert any([await web_config.check_files() for _ in range(3)])


async def test_no_secret_is_logged(issued: Keys, logged: list[dict[str, object]]) -> None:
    """No hash, password, or key, from a valid or invalid file."""
    web_config = ActiveWebConfig(issued.write(f"{TLS}}}\nbasic_auth_users: {{anna: {ANNA}}}"))
    for user in ("hunter2", ANNA, "[hunter2]"):
        issued.write(f"{TLS}}}\nbasic_auth_users: {{anna: {user}, otto: {user}}}")
        for _ in range(3):
            await web_config.check_files()
    said = str(logged)
    assert not [secret for secret in ("hunter2", "$2b$", "PRIVATE") if secret in said]


async def test_a_session_is_resumed(issued: Keys) -> None:
    """The second handshake needs no signature."""
    context = issued.client(maximum_version=ssl.TLSVersion.TLSv1_2)

    def twice(port: int) -> bool:
        session = None
        for _ in range(2):
            with (
                socket.create_connection((HOST, port)) as raw,
                context.wrap_socket(raw, server_hostname="localhost", session=session) as secured,
            ):
                session, reused = secured.session, secured.session_reused
        return bool(reused)

    async with served(issued.write(f"{TLS}}}")) as (server, _):
        assert await asyncio.to_thread(twice, server.addresses[0].port)
