"""`khealth run-now`: what it asks, what it prints, and its exit codes."""

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from khealth_exporter.cli.main import main


@dataclass
class Fake:
    """A khealth that answers what a test says, and remembers what it was asked."""

    code: int = 202
    text: str = "control-plane/api: attempt 7 begun\n"
    kind: str = "text/plain; charset=utf-8"
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""


def _handler(fake: Fake) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            fake.asked.append((self.command, self.path, self.headers["Authorization"]))
            self.send_response(fake.code)
            self.send_header("Content-Type", fake.kind)
            self.send_header("Location", "/elsewhere")
            body = fake.text.encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@pytest.fixture
def fake() -> Iterator[Fake]:
    """Serve without TLS."""
    with _served() as fake:
        yield fake


@contextmanager
def _served(authority: trustme.CA | None = None) -> Iterator[Fake]:
    fake = Fake()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    if authority:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    fake.url = f"{'https' if authority else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_attempt_that_has_begun_is_printed(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    """What khealth answers, on standard output."""
    assert 0 == main(["run-now", "control-plane/api", "--url", fake.url])
    assert ("control-plane/api: attempt 7 begun\n", "") == capsys.readouterr()
    assert [("POST", "/-/run/control-plane/api", None)] == fake.asked


@pytest.mark.parametrize(
    ("code", "text", "exit_code"),
    [
        (409, "a/b: no attempt begun: an attempt is running\n", 1),
        (404, "unknown routine; known routines: a/c\n", 2),
        (401, "authentication required\n", 2),
        (403, "cross-site request rejected\n", 2),
        (429, "too many requests\n", 3),
        (500, "", 3),
        (302, "", 3),
        (200, "", 3),
        (999, "", 3),
    ],
)
def test_a_refusal_has_an_exit_code(
    fake: Fake, code: int, text: str, exit_code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 if it may work later, 2 for a wrong request, 3 where nothing is known; no redirect is followed."""
    fake.code, fake.text = code, text
    assert exit_code == main(["run-now", "a/b", "--url", fake.url])
    assert ("", text or f"the answer was HTTP {code}\n") == capsys.readouterr()
    assert 1 == len(fake.asked)


def test_nothing_that_answers_ends_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    """The address is named."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    assert 3 == main(["run-now", "a/b", "--url", url])
    assert capsys.readouterr().err.startswith(f"khealth: no answer from {url}: ")


def test_what_a_server_answers_does_not_control_the_terminal(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor is a page of HTML printed."""
    fake.text = "a\x1b[2Jb\n"
    main(["run-now", "a/b", "--url", fake.url])
    fake.text, fake.kind = "<html>", "text/html"
    main(["run-now", "a/b", "--url", fake.url])
    assert "a[2Jb\nthe answer was HTTP 202\n" == capsys.readouterr().out


def test_the_path_of_a_proxy_is_kept_and_names_are_encoded(fake: Fake) -> None:
    """As that of `kubectl proxy`."""
    main(["run-now", "a b/ä", "--url", f"{fake.url}/api/v1/proxy/"])
    assert ["/api/v1/proxy/-/run/a%20b/%C3%A4"] == [path for _, path, _ in fake.asked]


def test_credentials_come_from_a_file(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are sent, and printed nowhere."""
    (tmp_path / "user").write_text("anna:r:ght\n")
    fake.code, fake.text = 401, ""
    main(["run-now", "a/b", "--url", fake.url, "--user-file", str(tmp_path / "user")])
    assert [f"Basic {base64.b64encode(b'anna:r:ght').decode()}"] == [sent for _, _, sent in fake.asked]
    assert "r:ght" not in "".join(capsys.readouterr())


def test_a_server_is_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the system's certificates, or those of a file."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with _served(authority) as fake:
        assert 3 == main(["run-now", "a/b", "--url", fake.url])
        assert "certificate verify failed" in capsys.readouterr().err
        assert 0 == main(["run-now", "a/b", "--url", fake.url, "--ca-file", str(tmp_path / "ca.pem")])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["a"], "'a' is not a routine: write MODULE/ROUTINE"),
        (["a/b/c"], "'a/b/c' is not a routine: write MODULE/ROUTINE"),
        (["/b"], "'/b' is not a routine: write MODULE/ROUTINE"),
        (["a/b", "--url", "ftp://x"], "--url ftp://x is not one of khealth: write http://127.0.0.1:8080 or https://khealth.example"),
        (["a/b", "--url", "http://x:y"], "--url is not a URL: Port could not be cast to integer value as 'y'"),
        (["a/b", "--url", "http://u:p@x"], "--url must not contain credentials, which other users could see: use --user-file"),
        (["a/b", "--ca-file", "x"], "--ca-file needs a URL that begins with https://"),
        (["a/b", "--url", "https://x", "--ca-file", "nowhere"], "--ca-file nowhere: cannot be used: No such file or directory"),
        (["a/b", "--user-file", "nowhere"], "--user-file nowhere: cannot be read: No such file or directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_ends_with_2(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is sent."""
    assert 2 == main(["run-now", *argv])
    assert f"khealth: {message}\n" == capsys.readouterr().err


@pytest.mark.parametrize("text", ["anna", "", "a:b\nc:d"])
def test_a_file_without_credentials_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without telling what it holds."""
    path = tmp_path / "user"
    path.write_text(text)
    assert 2 == main(["run-now", "a/b", "--user-file", str(path)])
    assert f"khealth: --user-file {path}: must hold one line, USER:PASSWORD\n" == capsys.readouterr().err
