"""Connects again and again to the address that standard input names last, and tells when it first does, and no longer.

It runs from its text alone, in the network namespace of a pod: the plainest observer of what a policy does.
"""

import selectors
import socket
import sys
import time

EVERY, PATIENCE = 0.005, 0.1
"""Seconds from one try to the next, and seconds that one waits."""


def answers(address: str, port: int) -> bool:
    """Tell whether a connection is accepted."""
    with socket.socket() as sock:
        sock.settimeout(PATIENCE)
        return sock.connect_ex((address, port)) == 0


def main() -> None:
    """Print for each change: the address, whether it answers now, and between which times that began (Unix seconds)."""
    told = selectors.DefaultSelector()
    told.register(sys.stdin, selectors.EVENT_READ)
    address, port, answered, before = "", 0, False, 0.0
    while True:
        if told.select(EVERY if address else None):
            line = sys.stdin.readline()
            if not line:
                return
            address, number = line.split()
            port, answered, before = int(number), False, time.time()
        began = time.time()
        now = answers(address, port)
        ended = time.time()
        if now != answered:
            print(address, int(now), before, ended, flush=True)
        # What answers was there when the answer came, and what does not was gone when the last one had come.
        answered, before = now, ended if now else began


if __name__ == "__main__":
    main()
