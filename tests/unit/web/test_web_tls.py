"""TLS: who gets in, and that new certificates come into force without a restart."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from serving import ANNA, HOST, TLS, Keys, keys, served, talk
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
    """Yield what is logged."""
    with capture_logs() as entries:
        yield entries  # type: ignore[misc]


async def renew(web_config: ActiveWebConfig, server: WebServer) -> bool:
    """Look at the files as often as a change needs, and tell whether it came into force."""
    renewed = False
    for _ in range(3):
        if await web_config.check_files():
            server._connections.drain()
            renewed = True
    return renewed


async def answered(server: WebServer, context: ssl.SSLContext) -> bool:
    """Tell whether a client gets in."""
    with contextlib.suppress(ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
        async with talk(server, context) as client:
            return READY == await client.ask()
    return False


async def shown(server: WebServer, context: ssl.SSLContext) -> bytes:
    """Return the certificate that a new connection is shown."""
    async with talk(server, context) as client:
        return client.certificate()


def der(folder: Path) -> bytes:
    """Return the server's certificate as it is on the disk."""
    text = (folder / "server.pem").read_text()
    return ssl.PEM_cert_to_DER_cert(text[: text.index("-----END CERTIFICATE-----") + 25])


async def test_a_scrape_comes_over_tls(issued: Keys) -> None:
    """Who trusts the authority is answered."""
    async with served(issued.write(f"{TLS}}}")) as (server, _):
        assert await answered(server, issued.client())


async def test_no_answer_comes_in_clear_text(issued: Keys) -> None:
    """With TLS a plain request gets nothing."""
    async with served(issued.write(f"{TLS}}}")) as (server, _), talk(server) as client:
        await client.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await client.ended()


@pytest.mark.parametrize(("least", "spoken"), [("TLS12", ["TLSv1.2", "TLSv1.3"]), ("TLS13", ["TLSv1.3"])])
async def test_the_least_version_is_kept(issued: Keys, least: str, spoken: list[str]) -> None:
    """What is older than `min_version` is refused in the handshake."""
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
async def test_clients_show_certificates_as_told(issued: Keys, kind: str, welcome: list[str]) -> None:
    """None, one that our authority has signed, and one that it has not."""
    issued.issue("ours", "prometheus")
    Keys(issued.folder, trustme.CA()).issue("stranger", "prometheus")
    text = f"{TLS}, client_auth_type: {kind}, client_ca_file: ca.pem}}"
    async with served(issued.write(text)) as (server, _):
        clients = ["", "ours", "stranger"]
        assert welcome == [name for name in clients if await answered(server, issued.client(name))]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_allowed_name_opens_every_path(issued: Keys, version: ssl.TLSVersion) -> None:
    """A certificate with one of `client_allowed_sans` is let through; addresses count in whatever form."""
    issued.issue("ours", "elsewhere", "::1")
    text = f"{REQUIRED}, client_allowed_sans: [prometheus, '0:0::1']}}"
    context = issued.client("ours", minimum_version=version, maximum_version=version)
    async with served(issued.write(text)) as (server, _):
        assert await answered(server, context)


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/nowhere"])
async def test_another_name_is_refused_everywhere(issued: Keys, path: str) -> None:
    """Who has a certificate of ours, but none of the names, reads why, and is disconnected."""
    issued.issue("ours", "elsewhere")
    text = f"{REQUIRED}, client_allowed_sans: [prometheus]}}"
    async with served(issued.write(text)) as (server, _), talk(server, issued.client("ours")) as client:
        code = (await client.ask(path))[0]
        assert (403, True) == (code, await client.ended())


async def test_who_need_not_show_a_certificate_needs_no_name(issued: Keys) -> None:
    """`client_allowed_sans` is about certificates that are shown, as in the exporter-toolkit."""
    text = f"{TLS}, client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem, client_allowed_sans: [a]}}"
    async with served(issued.write(text)) as (server, _):
        assert await answered(server, issued.client())


async def test_a_new_certificate_is_shown(issued: Keys) -> None:
    """New connections get it; the server was never away."""
    async with served(issued.write(f"{TLS}}}")) as (server, web_config):
        before = await shown(server, issued.client())
        issued.issue()
        assert await renew(web_config, server)
        after = await shown(server, issued.client())
        assert (True, der(issued.folder)) == (before != after, after)


async def test_a_swapped_folder_is_a_change(tmp_path: Path) -> None:
    """Kubernetes renews a Secret's files by turning the symbolic link `..data` to another folder."""
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


async def test_a_new_authority_of_clients_counts(issued: Keys) -> None:
    """After a change of client_ca_file the old authority's clients are out, and the new one's are in."""
    issued.issue("ours", "prometheus")
    other = Keys(issued.folder, trustme.CA())
    other.issue("theirs", "prometheus")
    async with served(issued.write(f"{REQUIRED}}}")) as (server, web_config):
        other.authority.cert_pem.write_to_path(str(issued.folder / "ca.pem"))
        assert await renew(web_config, server)
        found = {name: await answered(server, issued.client(name)) for name in ("ours", "theirs")}
        assert {"ours": False, "theirs": True} == found


async def test_client_certificates_can_be_asked_for_from_now_on(issued: Keys) -> None:
    """Whether clients are verified changes with the file, and not only by whom."""
    async with served(issued.write(f"{TLS}}}")) as (server, web_config):
        assert await answered(server, issued.client())
        issued.write(f"{REQUIRED}}}")
        assert await renew(web_config, server)
        assert not await answered(server, issued.client())


async def test_an_open_connection_does_not_outlive_its_terms(issued: Keys) -> None:
    """Who was let in by what is no longer in force is disconnected."""
    async with served(issued.write(f"{TLS}}}")) as (server, web_config), talk(server, issued.client()) as client:
        assert READY == await client.ask()
        issued.write(f"{REQUIRED}}}")
        assert await renew(web_config, server)
        assert await client.ended()


async def test_the_files_are_looked_at_while_it_serves(issued: Keys) -> None:
    """Nobody has to tell khealth that they have changed."""
    web_config = ActiveWebConfig(issued.write(f"{TLS}}}"))
    renewed = asyncio.Event()
    issued.issue()
    async with asyncio.timeout(20.0), asyncio.TaskGroup() as group:
        following = group.create_task(web_config.reload_on_change(renewed.set, period=0.01))
        await renewed.wait()
        following.cancel()
    assert renewed.is_set()


async def test_a_bug_in_looking_is_loud_and_does_not_end_it(issued: Keys, logged: list[dict[str, object]]) -> None:
    """The next look is another chance; what was in force stays."""
    web_config = ActiveWebConfig(issued.write(f"{TLS}}}"))
    looks: list[bool | Exception] = [RuntimeError("a bug"), True]
    renewed = asyncio.Event()

    async def look() -> bool:
        found = looks.pop(0) if looks else False
        if isinstance(found, Exception):
            raise found
        return found

    web_config.check_files = look  # type: ignore[method-assign]
    async with asyncio.timeout(20.0), asyncio.TaskGroup() as group:
        following = group.create_task(web_config.reload_on_change(renewed.set, period=0.001))
        await renewed.wait()
        following.cancel()
    assert ["a bug"] == [str(entry["exc_info"]) for entry in logged if entry["log_level"] == "error"]


async def test_what_is_being_written_is_not_taken(issued: Keys) -> None:
    """A state counts when it has been seen twice: half of a file would be another configuration."""
    path = issued.write(f"{TLS}}}\nbasic_auth_users: {{anna: {ANNA}}}")
    web_config = ActiveWebConfig(path)
    issued.write(f"{TLS}}}")
    first = await web_config.check_files()
    issued.write(f"{TLS}}}\nbasic_auth_users: {{anna: {ANNA}, otto: {ANNA}}}")
    second = await web_config.check_files()
    third = await web_config.check_files()
    assert ((False, False, True), ["anna", "otto"]) == ((first, second, third), list(web_config.config.users))


async def test_half_a_pair_is_refused_and_the_old_one_stays(issued: Keys, logged: list[dict[str, object]]) -> None:
    """A certificate without its key is told once, loudly, and changes nothing; the whole pair is taken then."""
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


async def test_a_missing_file_is_refused_until_it_comes(issued: Keys) -> None:
    """A configuration may name a file before that is there."""
    web_config = ActiveWebConfig(issued.write(f"{TLS}}}"))
    issued.write(REQUIRED.replace("ca.pem", "late.pem") + "}")
    found = [await web_config.check_files() for _ in range(3)]
    issued.authority.cert_pem.write_to_path(str(issued.folder / "late.pem"))
    found += [await web_config.check_files() for _ in range(2)]
    assert [False, False, False, False, True] == found


@pytest.mark.parametrize(("before", "after"), [(f"{TLS}}}", ""), ("", f"{TLS}}}")])
async def test_tls_is_switched_by_a_restart_alone(
    issued: Keys, logged: list[dict[str, object]], before: str, after: str
) -> None:
    """The scheme that Prometheus was told is not taken away under it, and the log says so."""
    web_config = ActiveWebConfig(issued.write(before))
    issued.write(after)
    assert not any([await web_config.check_files() for _ in range(3)])
    assert "restart khealth to turn TLS on or off" in str(logged)


@pytest.mark.parametrize("text", ["", "null", "---", "basic_auth_users:", "rate_limit: {interval: 1s, burst: 5}", "{}"])
async def test_an_emptied_file_opens_nothing(issued: Keys, text: str) -> None:
    """A file cut short, a Secret deleted, or a template without its input must not let everybody in."""
    path = issued.write(f"basic_auth_users: {{anna: {ANNA}}}")
    web_config = ActiveWebConfig(path)
    issued.write(text)
    assert not any([await web_config.check_files() for _ in range(3)])
    assert {"anna": ANNA.encode()} == web_config.config.users


async def test_users_can_be_taken_away_by_saying_so(issued: Keys) -> None:
    """What is written plainly is meant."""
    web_config = ActiveWebConfig(issued.write(f"basic_auth_users: {{anna: {ANNA}}}"))
    issued.write("basic_auth_users: {}")
    assert any([await web_config.check_files() for _ in range(3)])


async def test_no_secret_is_logged(issued: Keys, logged: list[dict[str, object]]) -> None:
    """Neither what is taken nor what is refused shows a hash, a password or a key."""
    web_config = ActiveWebConfig(issued.write(f"{TLS}}}\nbasic_auth_users: {{anna: {ANNA}}}"))
    for user in ("hunter2", ANNA, "[hunter2]"):
        issued.write(f"{TLS}}}\nbasic_auth_users: {{anna: {user}, otto: {user}}}")
        for _ in range(3):
            await web_config.check_files()
    said = str(logged)
    assert not [secret for secret in ("hunter2", "$2b$", "PRIVATE") if secret in said]


async def test_a_session_is_resumed(issued: Keys) -> None:
    """Prometheus' second handshake costs no new signature."""
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
