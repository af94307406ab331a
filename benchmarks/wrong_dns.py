"""A name server that says the same of every name: run in a pod of the cluster's DNS, from its text alone."""

import socket
import struct

ADDRESS = "192.0.2.1"
"""Nobody has it: it is set aside for documentation (RFC 5737)."""
_HEADER, _FLAGS, _TTL, _A, _IN = 12, 0x8580, 5, 1, 1


def answer(question: bytes) -> bytes:
    """Return the answer to a datagram with one question."""
    end = question.index(0, _HEADER) + 5
    header = question[:2] + struct.pack("!5H", _FLAGS, 1, 1, 0, 0)
    record = struct.pack("!3HIH", 0xC000 | _HEADER, _A, _IN, _TTL, 4) + socket.inet_aton(ADDRESS)
    return header + question[_HEADER:end] + record


def main() -> None:
    """Answer until the process ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.bind(("", 53))
        while True:
            question, client = asked.recvfrom(4096)
            asked.sendto(answer(question), client)


if __name__ == "__main__":
    main()
