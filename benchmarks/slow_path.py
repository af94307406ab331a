"""A path between two network namespaces, through a relay that delays packets and loses some: a known truth."""

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

NETWORK = "198.18.77"
"""Of the range for benchmarks, see RFC 2544."""
_NEW_NETWORK = 0x40000000
"""CLONE_NEWNET, see unshare(2)."""
_SET_DEVICE, _TUN, _NO_HEADER = 0x400454CA, 0x0001, 0x1000
"""TUNSETIFF, IFF_TUN and IFF_NO_PI, see linux/if_tun.h."""
_LARGEST = 65_536
_UDP, _TCP = 17, 6
_SYN, _ACK = 0x02, 0x10


@dataclass(slots=True)
class Relayed:
    """What a relay did: seconds for which it held packets, and by protocol the packets that it could lose and lost."""

    held: list[float] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)


class End:
    """One end of the path. What runs in its `thread`, and the processes that this starts, have its network."""

    def __init__(self, number: int) -> None:
        self.address = f"{NETWORK}.{number}"
        self.thread = ThreadPoolExecutor(max_workers=1)
        self.device = self.thread.submit(self._open).result()

    def _open(self) -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "cannot make a network namespace: needs root")
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _SET_DEVICE, struct.pack("16sH14x", b"path", _TUN | _NO_HEADER))
        for words in (
            ["address", "add", f"{self.address}/24", "dev", "path"],
            ["link", "set", "path", "up"],
            ["link", "set", "lo", "up"],
        ):
            subprocess.run(["ip", *words], check=True)
        return device

    def close(self) -> None:
        """Remove it, and its network once no process is there."""
        self.thread.shutdown()
        os.close(self.device)


@contextmanager
def relay(near: End, far: End, delay: float, loss: float = 0.0, seed: int = 0) -> Iterator[Relayed]:
    """Let packets pass for as long as the block takes; lose some of what goes from near to far."""
    command = [sys.executable, "-m", "benchmarks.slow_path", str(near.device), str(far.device)]
    pipe, relayed = subprocess.PIPE, Relayed()
    with subprocess.Popen(
        [*command, str(delay), str(loss), str(seed)], stdin=pipe, stdout=pipe, pass_fds=(near.device, far.device)
    ) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        process.stdout.readline()
        try:
            yield relayed
        finally:
            out, _ = process.communicate()
    found: dict[str, Any] = json.loads(out)
    relayed.held += found["held"]
    relayed.passed.update(found["passed"])
    relayed.lost.update(found["lost"])


def _beginning(packet: bytes) -> tuple[str, bytes]:
    """Return the protocol of a packet that begins a round trip, and what it is known by; nothing for others.

    TCP sends a lost packet again, with the same sequence number.
    """
    if packet[0] >> 4 != 4:  # noqa: PLR2004 - the IP version
        return "", b""
    header = (packet[0] & 15) * 4
    if packet[9] == _UDP:
        return "udp", packet[header + 8 :]
    begins = packet[9] == _TCP and packet[header + 13] & (_SYN | _ACK) == _SYN
    return ("tcp", packet[header : header + 8]) if begins else ("", b"")


def _relay(near: int, far: int, delay: float, loss: float, chance: random.Random) -> Relayed:
    """Relay until standard input ends."""
    done, due = Relayed(), list[tuple[float, int, float, int, bytes]]()
    number, seen = 0, set[bytes]()
    while True:
        # It never sleeps: to wake up takes longer than the errors that are looked for.
        ready: list[int] = select.select([near, far, 0], [], [], 0)[0]
        if 0 in ready:
            return done
        for end in ready:
            with suppress(BlockingIOError):
                packet, came = os.read(end, _LARGEST), time.monotonic()
                protocol, key = _beginning(packet) if end == near else ("", b"")
                if protocol and key not in seen:
                    seen.add(key)
                    done.passed[protocol] += 1
                    if chance.random() < loss:
                        done.lost[protocol] += 1
                        continue
                number += 1
                heapq.heappush(due, (came + delay, number, came, far if end == near else near, packet))
        while due and due[0][0] <= time.monotonic():
            _, _, came, end, packet = heapq.heappop(due)
            os.write(end, packet)
            done.held.append(time.monotonic() - came)


def main() -> None:
    """Relay, before all other processes of one CPU: a relay that waits for a CPU is no truth."""
    near, far, delay, loss, seed = sys.argv[1:]
    # Not as a real-time process: the kernel would stop one that never sleeps for a twentieth of each second.
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print("relaying", flush=True)
    chance = random.Random(int(seed))  # noqa: S311 - repeatable
    done = _relay(int(near), int(far), float(delay), float(loss), chance)
    print(json.dumps({"held": done.held, "passed": done.passed, "lost": done.lost}))


if __name__ == "__main__":
    main()
