"""What an agent answers over HTTP, and to which requests."""

import contextlib
import hashlib
import json
import socket
import time

import pytest
from agent_process import Asker, Reply
from small_network import dns_answer

from khealth_exporter.canary.agent import server

EMPTY: dict[str, object] = {"probes": []}
PATH = "/v1/round_trips"


def raw(agent: Asker, request: bytes) -> bytes:
    """Send bytes, and return everything that comes."""
    with socket.create_connection((agent.address, agent.port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while more := connection.recv(65536):
            answer += more
        return answer


def test_ready_tells_the_name_and_the_process(agent: Asker) -> None:
    reply = agent.request("GET", "/ready")
    assert (200, "agent", 32) == (reply.status, reply.document["name"], len(reply.document["boot"]))


def test_ping_tells_the_name(agent: Asker) -> None:
    expected = b"agent\n"
    assert expected == agent.request("GET", "/ping").body


def test_an_answer_says_who_gave_it_and_how_long_it_took(agent: Asker) -> None:
    document = agent.ask("round_trips", EMPTY)
    assert ("agent", "node-1", agent.boot) == (document["name"], document["node"], document["boot"])
    assert document["seconds"] > 0
    assert document["waiting_seconds"] >= 0


def test_an_answer_is_proved_with_the_secret(agent: Asker) -> None:
    """So nobody between khealth and the agent can invent one."""
    nonce = "ab" * 16
    reply = agent.post("round_trips", EMPTY, nonce=nonce)
    expected = agent.mac("answer", nonce, "200", hashlib.sha256(reply.body).hexdigest())
    assert f"v1;mac={expected}" == reply.headers["Khealth-Auth"]


def test_a_question_that_is_wrong_is_refused_with_proof(agent: Asker) -> None:
    nonce = "ab" * 16
    reply = agent.post("round_trips", {"probes": 5}, nonce=nonce)
    expected = agent.mac("answer", nonce, "400", hashlib.sha256(reply.body).hexdigest())
    assert (400, {"error": "probes: no list of at most 256"}) == (reply.status, reply.document)
    assert f"v1;mac={expected}" == reply.headers["Khealth-Auth"]


def denied(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.document["error"]


def test_a_request_without_a_proof_is_denied(agent: Asker) -> None:
    expected = (401, "mac")
    assert expected == denied(agent.request("POST", PATH, b"{}"))


@pytest.mark.parametrize(
    "proof", ["v1", "v1;boot=0;nonce=0;mac=0", "Bearer x", f"v1;boot=0;nonce={'0' * 32};mac={'0' * 64}"]
)
def test_a_proof_of_another_form_is_denied(agent: Asker, proof: str) -> None:
    expected = (401, "mac")
    assert expected == denied(agent.request("POST", PATH, b"{}", {"Khealth-Auth": proof}))


def test_a_proof_of_another_body_is_denied(agent: Asker) -> None:
    expected = (401, "mac")
    assert expected == denied(agent.request("POST", PATH, b'{"probes":[]}', agent.proof(PATH, b"{}")))


def test_a_proof_of_another_task_is_denied(agent: Asker) -> None:
    expected = (401, "mac")
    assert expected == denied(agent.request("POST", "/v1/dns", b"{}", agent.proof(PATH, b"{}")))


def test_a_proof_for_an_earlier_process_is_denied_and_the_present_one_is_told(agent: Asker) -> None:
    reply = agent.post("round_trips", EMPTY, boot="0")
    assert (401, {"error": "boot", "boot": agent.boot}) == (reply.status, reply.document)


def test_a_request_is_accepted_once(agent: Asker) -> None:
    replies = [agent.post("round_trips", EMPTY, nonce="cd" * 16) for _ in range(2)]
    assert 200 == replies[0].status
    assert (401, "replay") == denied(replies[1])


def test_a_secret_that_changes_counts_at_once(agent: Asker) -> None:
    agent.secret_file.write_bytes(b"another\n")
    expected = 200
    assert expected == agent.post("round_trips", EMPTY).status


@pytest.mark.parametrize("secret", [None, b" \n"], ids=["none", "blank"])
def test_without_a_secret_nobody_is_served(agent: Asker, secret: bytes | None) -> None:
    body = json.dumps(EMPTY).encode()
    proof = agent.proof(PATH, body)
    if secret is None:
        agent.secret_file.unlink()
    else:
        agent.secret_file.write_bytes(secret)
    expected = (401, "secret")
    assert expected == denied(agent.request("POST", PATH, body, proof))


@pytest.mark.parametrize(
    ("status", "method", "path", "headers"),
    [
        (404, "GET", "/", {}),
        (404, "GET", "/v1", {}),
        (404, "POST", "/v1/reboot", {}),
        (405, "POST", "/ready", {}),
        (405, "HEAD", "/ping", {}),
        (405, "GET", PATH, {}),
        (411, "POST", PATH, {"Transfer-Encoding": "chunked"}),
        (400, "POST", PATH, {"Content-Length": "x"}),
        (400, "POST", PATH, {"Content-Length": "-1"}),
        (413, "POST", PATH, {"Content-Length": "65537"}),
        (413, "POST", PATH, {"Content-Length": "9" * 5000}),
        (415, "POST", PATH, {"Content-Length": "2", "Content-Type": "text/plain"}),
        (431, "GET", "/ready", {f"X-{number}": "" for number in range(101)}),
        (431, "GET", "/ready", {"X": "." * 20000}),
    ],
)
def test_other_requests_are_refused_without_a_look_at_their_body(
    agent: Asker, status: int, method: str, path: str, headers: dict[str, str]
) -> None:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    answer = raw(agent, "\r\n".join(lines).encode())
    assert f"HTTP/1.1 {status} ".encode() == answer[:13]


@pytest.mark.parametrize(
    "request_", [b"\r\n\r\n", b"GET\r\n\r\n", b"GET /ready HTTP/2\r\n\r\n", b"\xff\x00 / HTTP/1.1\r\n\r\n", b"GET /ready HTTP/1.1\r\nno colon\r\n\r\n",
                 b"POST /v1/dns HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_http_is_refused(agent: Asker, request_: bytes) -> None:
    assert raw(agent, request_).startswith(b"HTTP/1.1 400 ")


def test_a_refusal_reaches_a_client_that_is_still_sending(agent: Asker) -> None:
    """An agent that closed at once would reset the connection, and destroy its answer."""
    head = b"POST /v1/dns HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n"
    assert raw(agent, head + b"." * 3_000_000).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"[" * 60000, b"\xff", b'{"within": NaN}', b"1" * 5000])
def test_a_body_that_is_no_json_object_is_a_bad_question(agent: Asker, body: bytes) -> None:
    reply = agent.request("POST", PATH, body or b" ", agent.proof(PATH, body or b" "))
    assert 400 == reply.status


def test_a_slow_request_is_cut_off(agent: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_REQUEST_SECONDS", 0.05)
    with socket.create_connection((agent.address, agent.port), timeout=30) as connection:
        connection.sendall(b"GET /ready HTTP/1.1\r\n")
        # A reset, if the agent has not read all of it.
        with contextlib.suppress(ConnectionResetError):
            assert b"" == connection.recv(100)


def test_a_request_may_come_byte_by_byte(agent: Asker) -> None:
    body = json.dumps(EMPTY).encode()
    headers = agent.proof(PATH, body) | {"Content-Length": str(len(body))}
    head = "\r\n".join([f"POST {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""])
    with socket.create_connection((agent.address, agent.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head.encode() + body:
            connection.sendall(bytes([byte]))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_more_tasks_than_four_are_told_that_it_is_busy(agent: Asker) -> None:
    """The fifth is refused at once, and with proof; when one has ended, the next is accepted."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, contextlib.ExitStack() as stack:
        server.bind((agent.address, 0))
        server.settimeout(30)
        asked = {"name": "a.", "server": agent.address, "port": server.getsockname()[1], "timeout": 30}
        body, path = json.dumps({"questions": [asked], "within": 60}).encode(), "/v1/dns"
        busy, queries = [], []
        for _ in range(4):
            connection = stack.enter_context(socket.create_connection((agent.address, agent.port), timeout=30))
            headers = agent.proof(path, body) | {"Content-Length": str(len(body))}
            lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
            connection.sendall("\r\n".join(lines).encode() + body)
            busy.append(connection)
            queries.append(server.recvfrom(512))  # The task is under way, until its answer comes.
        refused = agent.post("round_trips", EMPTY)
        assert (429, {"error": "busy"}) == (refused.status, refused.document)
        for query, asker in queries:
            server.sendto(dns_answer(query), asker)
        for connection in busy:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert 200 == agent.post("round_trips", EMPTY).status


def test_a_question_is_answered_within_its_time(agent: Asker) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((agent.address, 0))
        asked = {"name": "a.", "server": agent.address, "port": silent.getsockname()[1], "timeout": 30}
        began = time.monotonic()
        document = agent.ask("dns", {"questions": [asked], "within": 0.1})
        took = time.monotonic() - began
    assert 0.1 <= took
    assert "unfinished" == document["answers"][0]["outcome"]
    # The time that a question has begins when the agent reads it; the seconds of an answer, when it asks, if it does.
    assert 0.0 <= document["answers"][0]["seconds"] <= took
