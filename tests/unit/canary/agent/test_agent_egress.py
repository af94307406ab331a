"""The question `egress`, against servers of the test."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from agent_process import RunningAgent
from agent_process import agent as run_agent
from small_network import ADDRESS, PATIENCE, dns_answer, dns_record, name_server, waits

from khealth_exporter.canary.agent import apart, egress
from khealth_exporter.canary.agent.question import BadQuestion, Question

LOOPBACK = dns_record(1, b"\x7f\0\0\1")
DEAD = dns_record(1, b"\x7f\x09\x09\x09")
STEPS = ("resolve", "connect", "tls", "respond")
THINKING = 0.01
"""Seconds before a server answers."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(THINKING)
        self.send_response(int(self.path.lstrip("/") or 200))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Answer each path with the status that it is; provide the port."""

    class Server(HTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing."""

    with Server((ADDRESS, 0), _Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """What the agent trusts."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


def trusted(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def ask(*targets: dict[str, object], within: float = 2 * PATIENCE) -> list[dict[str, Any]]:
    now = time.monotonic()
    asked = [{"id": str(n), "timeout": 60, **target} for n, target in enumerate(targets)]
    document: Any = egress.answer(Question({"targets": asked, "until": now + within}, now))
    results: list[dict[str, Any]] = document["results"]
    return results


def test_a_url_with_tls_goes_all_the_way(authority: trustme.CA) -> None:
    with serving(trusted(authority, ADDRESS)) as port:
        (found,) = ask({"url": f"https://{ADDRESS}:{port}/204"})
    assert (True, "", 204, "") == (found["ok"], found["failed"], found["status"], found["error"])
    assert STEPS == tuple(found["durations"])
    assert found["durations"]["tls"] > 0
    assert found["durations"]["respond"] >= THINKING
    assert found["uncertainty"] > 0


def test_a_certificate_of_another_name_is_refused(authority: trustme.CA) -> None:
    with serving(trusted(authority, "example.org")) as port:
        (found,) = ask({"url": f"https://{ADDRESS}:{port}/"})
    assert (False, "tls") == (found["ok"], found["failed"])
    assert "IP address mismatch" in found["error"]


def test_a_certificate_of_another_authority_is_refused(authority: trustme.CA) -> None:
    assert authority
    with serving(trusted(trustme.CA(), ADDRESS)) as port:
        (found,) = ask({"url": f"https://{ADDRESS}:{port}/"})
    assert "tls" == found["failed"]
    assert found["error"].startswith("SSLCertVerificationError: ")


def test_tls_with_a_server_that_has_none_fails() -> None:
    with serving() as port:
        (found,) = ask({"url": f"https://{ADDRESS}:{port}/"})
    assert "tls" == found["failed"]


@pytest.mark.parametrize(("status", "failed"), [(200, ""), (401, ""), (404, ""), (500, "respond"), (503, "respond")])
def test_only_a_server_that_fails_has_not_answered(status: int, failed: str) -> None:
    """A registry says 401, and is well."""
    with serving() as port:
        (found,) = ask({"url": f"http://{ADDRESS}:{port}/{status}"})
    assert (not failed, failed, status) == (found["ok"], found["failed"], found["status"])


def test_an_address_is_connected_to() -> None:
    with serving() as port:
        (found,) = ask({"address": f"{ADDRESS}:{port}"})
    assert (True, ["resolve", "connect"]) == (found["ok"], list(found["durations"]))


def test_where_nothing_listens_connect_fails() -> None:
    (found,) = ask({"address": f"{ADDRESS}:1"})
    assert ("connect", "ECONNREFUSED: Connection refused") == (found["failed"], found["error"])
    assert found["durations"]["connect"] > 0


@contextlib.contextmanager
def names(monkeypatch: pytest.MonkeyPatch, folder: Path, *records: bytes) -> Iterator[None]:
    """Let names have addresses."""
    code = 0 if records else 3
    with name_server(monkeypatch, folder, lambda query: [dns_answer(query, *records, code=code)]):
        yield


def test_a_name_is_resolved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with names(monkeypatch, tmp_path, LOOPBACK), serving() as port:
        (found,) = ask({"url": f"http://some.where:{port}/"})
    assert found["ok"], found
    assert found["durations"]["resolve"] > 0


def test_the_next_address_is_tried_if_the_first_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with names(monkeypatch, tmp_path, DEAD, LOOPBACK), serving() as port:
        (found,) = ask({"address": f"some.where:{port}"})
    assert found["ok"], found


def test_a_name_that_does_not_exist_fails_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with names(monkeypatch, tmp_path):
        (found,) = ask({"address": "no.where:1"})
    assert ("resolve", "A: nxdomain; AAAA: nxdomain") == (found["failed"], found["error"])
    assert "nxdomain" == found["dns"]


@pytest.mark.parametrize("code", [2, 3])
@pytest.mark.parametrize(("records", "expected"), [((LOOPBACK,), "answered"), ((), "nodata")], ids=["ipv4", "ipv6"])
def test_a_name_that_does_not_resolve_says_whether_dns_knows_the_clusters_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, records: tuple[bytes, ...], expected: str
) -> None:
    """It tells DNS that fails from a name, or a server that it forwards to, that does. It is asked for once."""
    monkeypatch.setattr(egress, "_RESOLVE_SECONDS", PATIENCE)
    asked: list[bytes] = []

    def answered(query: bytes) -> list[bytes]:
        own = b"\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00" in query
        asked.append(query) if own else None
        return [dns_answer(query, *(records if own else ()), code=0 if own else code)]

    more = "search mine.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
    with name_server(monkeypatch, tmp_path, answered, more):
        found = ask({"address": "no.where:1"}, {"address": "nor.here:1"}, {"address": "neither.there:1"})
    assert {(expected, "resolve")} == {(one["dns"], one["failed"]) for one in found}
    assert 1 <= len(asked) <= 3


def test_of_a_server_that_loses_every_other_question_names_resolve(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One of two DNS pods may be silent: that is for network/dns to tell."""
    waits(monkeypatch, 0.1)
    count = 0

    def every_other(query: bytes) -> list[bytes]:
        nonlocal count
        count += 1
        return [dns_answer(query, LOOPBACK)] if count % 2 == 0 else []

    with name_server(monkeypatch, tmp_path, every_other), serving() as port:
        (found,) = ask({"address": f"some.where:{port}"})
    assert found["ok"], found


@pytest.mark.parametrize("code", [2, 5])
def test_a_stale_search_domain_takes_no_target_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int) -> None:
    """Its server fails, and the name itself resolves."""

    def answered(query: bytes) -> list[bytes]:
        return [dns_answer(query, code=code) if b"\x05stale" in query else dns_answer(query, LOOPBACK)]

    more = "search stale.local\noptions ndots:5\n"
    with name_server(monkeypatch, tmp_path, answered, more), serving() as port:
        (found,) = ask({"url": f"http://some.where:{port}/"})
    assert found["ok"], found


def test_a_name_that_does_not_resolve_tells_which_servers_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def answered(query: bytes) -> list[bytes]:
        return [dns_answer(query, code=2 if b"\x05stale" in query else 3)]

    with name_server(monkeypatch, tmp_path, answered, "search stale.local\noptions ndots:5\n"):
        (found,) = ask({"address": "no.where:1"})
    said = "servfail no.where.stale.local. servfail"
    assert f"A: {said}; AAAA: {said}" == found["error"]


def test_dns_is_not_asked_for_more_where_a_name_resolves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is to be told apart."""
    with names(monkeypatch, tmp_path, LOOPBACK):
        (found,) = ask({"address": "some.where:1"})
    assert ("", "connect") == (found["dns"], found["failed"])


def test_a_silent_server_runs_into_the_timeout() -> None:
    with socket.create_server((ADDRESS, 0)) as server:
        place = f"{ADDRESS}:{server.getsockname()[1]}"
        plain, secure = ask({"url": f"http://{place}/", "timeout": 0.1}, {"url": f"https://{place}/", "timeout": 0.1})
    assert ("respond", "tls") == (plain["failed"], secure["failed"])
    assert "ETIMEDOUT: no answer in time" == plain["error"] == secure["error"]


def test_what_is_under_way_at_the_end_of_the_time_is_unfinished() -> None:
    with socket.create_server((ADDRESS, 0)) as server:
        (found,) = ask({"url": f"http://{ADDRESS}:{server.getsockname()[1]}/", "timeout": 30}, within=0.1)
    assert (False, "unfinished") == (found["ok"], found["error"])


@pytest.mark.parametrize(
    "target",
    [{}, {"url": "ftp://a/"}, {"url": "https://"}, {"url": "https://a b/"}, {"address": "a"}, {"address": "a:0"},
     {"address": "a:99999"}, {"url": "http://a/", "address": "a:1"}, {"url": "http://a/\r\nX: y"}],
    ids=str,
)  # fmt: skip
def test_a_target_that_makes_no_sense_is_refused(target: dict[str, object]) -> None:
    with pytest.raises(BadQuestion):
        ask(target)


def test_ipv6_addresses_may_be_targets() -> None:
    (found,) = ask({"url": "http://[::1]:1/"})
    assert "connect" == found["failed"]


@pytest.fixture
def process(tmp_path: Path, authority: trustme.CA) -> Iterator[RunningAgent]:
    assert authority
    with run_agent(tmp_path) as running:
        yield running


def test_an_agent_asks_in_a_process_of_its_own(process: RunningAgent, authority: trustme.CA) -> None:
    """OpenSSL and certificates would not leave its memory."""
    with serving(trusted(authority, ADDRESS)) as port:
        targets = [{"id": str(number), "url": f"https://{ADDRESS}:{port}/", "timeout": 60} for number in range(8)]
        document = process.ask("egress", {"targets": targets, "within": 60})
    assert {True} == {found["ok"] for found in document["results"]}
    maps = Path(f"/proc/{process.process.pid}/maps").read_text()
    assert "libssl" not in maps
    assert "libcrypto" not in maps


def test_a_process_that_is_late_leaves_all_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_GRACE_SECONDS", 0.0)
    now = time.monotonic()
    document: Any = apart.run(Question({"targets": [{"id": "a", "address": "127.0.0.1:1"}]}, now), now + 0.001)
    assert ["unfinished"] == [found["error"] for found in document["results"]]


def test_a_process_that_fails_is_an_error_of_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    now = time.monotonic()
    with pytest.raises(OSError, match="without an answer"):
        apart.run(Question({"targets": []}, now), now + PATIENCE)
    monkeypatch.setattr("sys.executable", "/nonexistent")
    with pytest.raises(FileNotFoundError):
        apart.run(Question({"targets": []}, now), now + PATIENCE)
