"""The task `agent`: a long-lived canary that answers khealth what its node's pods feel of the network."""

import argparse
import os
import signal
import sys
import threading
import time

from khealth_exporter.canary import limits

MEANING = "answer khealth over HTTP what pods on this node feel of the network, until the process is ended"
PORT = 8079
SECRET_FILE = "/etc/khealth/agent/secret"  # noqa: S105 - where it is, not what it is
_STACK = 1 << 18
_SWITCH_SECONDS = 0.0005
"""How long a thread may keep the others from running: an echo waits no longer behind a task."""
_UNABLE = 1
_LARGEST_PORT = 65_535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the task's flags."""
    parser.add_argument("--address", type=limits.text, default="0.0.0.0", help="IP address to listen on; default all")  # noqa: S104
    parser.add_argument(
        "--port",
        type=limits.integer(0, _LARGEST_PORT),
        default=PORT,
        help=f"port for HTTP over TCP and for echoes over UDP, 0 for any free one; default {PORT}",
    )
    parser.add_argument(
        "--secret-file",
        type=limits.text,
        default=SECRET_FILE,
        metavar="FILE",
        help=f"file with the secret that khealth knows too, read again for each request; default {SECRET_FILE}",
    )
    parser.add_argument("--name", type=limits.text, default=os.uname().nodename, help="default: the host's name")
    parser.add_argument(
        "--linger",
        type=_linger,
        default=0.0,
        metavar="SECONDS",
        help="after SIGTERM, answer for so long before the end; default 0",
    )


def run(options: argparse.Namespace) -> int:
    """Answer until a signal ends the process; return 1 if the address cannot be listened on."""
    # Only an agent needs sockets: the other canaries are smaller without them.
    from khealth_exporter.canary.agent.agent import Agent  # noqa: PLC0415
    from khealth_exporter.canary.agent.server import Server  # noqa: PLC0415

    threading.stack_size(_STACK)
    sys.setswitchinterval(_SWITCH_SECONDS)
    _end_after(options.linger)
    agent = Agent(options.name, os.environ.get("KHEALTH_NODE", ""), options.secret_file)
    try:
        server = Server(options.address, options.port, agent.check, agent.reply)
    except OSError as error:
        print(f"khealth canary: cannot listen on {options.address}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return _UNABLE
    print(f"listening on {options.address} port {server.port}", flush=True)  # noqa: T201
    server.serve()
    return 0


def _linger(text: str) -> float:
    return 0.0 if text == "0" else limits.seconds(text)


def _end_after(linger: float) -> None:
    """End with 0 so many seconds after SIGTERM or SIGINT.

    A thread waits for them: a handler would wait for the next packet if a signal came just before the agent does.
    """
    ending = {signal.SIGINT, signal.SIGTERM}

    def end() -> None:
        signal.sigwait(ending)
        time.sleep(linger)
        os._exit(0)

    # A blocked signal reaches process 1 of a container too, and every later thread blocks it as this one does.
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    threading.Thread(target=end, daemon=True).start()
