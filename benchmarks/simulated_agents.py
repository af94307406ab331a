"""Agents that answer the question `round_trips` as real ones do, and measure nothing: any number in one process."""

import asyncio
import contextlib
import json
import random
import sys
from bisect import bisect_left
from http import HTTPStatus
from pathlib import Path
from typing import Any

from khealth_exporter.canary.agent.auth import HEADER, Denied, Guard
from khealth_exporter.canary.agent.http import answer

Json = dict[str, Any]
_HEAD = 65_536
_TOOK = 0.1
"""Seconds until an answer: five round trips 20 ms apart."""


def results(question: Json, chance: random.Random) -> Json:
    """Return figures of a healthy network of two zones for each probe."""
    found = [_result(probe, question["edges"], chance) for probe in question["probes"]]
    return {"name": "agent", "node": "node", "boot": "0", "seconds": _TOOK, "waiting_seconds": 0.0, "results": found}


def _result(probe: Json, edges: list[float], chance: random.Random) -> Json:
    durations = sorted(chance.choice((0.0003, 0.0014)) * chance.uniform(0.9, 1.3) for _ in range(probe["count"]))
    counts = [0] * (len(edges) + 1)
    for seconds in durations:
        counts[bisect_left(edges, seconds)] += 1
    return {
        "id": probe["id"], "sent": len(durations), "lost": 0, "counts": counts, "sum": round(sum(durations), 9),
        "least": durations[0], "median": durations[len(durations) // 2], "most": durations[-1], "jitter": 0.00004,
        "uncertainty": 0.00002, "error": "",
    }  # fmt: skip


async def main(port: int, secret_file: str) -> None:
    """Answer at every address of the loopback network, until cancelled."""
    guard, chance = Guard(secret_file), random.Random(1)  # noqa: S311 - not for secrets

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await respond(reader, writer)

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = first.split(" ")
        try:
            accepted = guard.check(method, path, headers.get(HEADER.lower(), ""), body)
        except Denied as denied:
            refusal = json.dumps({"error": str(denied), "boot": guard.boot}).encode()
            writer.write(answer(HTTPStatus.UNAUTHORIZED, refusal))
        else:
            await asyncio.sleep(_TOOK)
            told = json.dumps(results(json.loads(body), chance), separators=(",", ":")).encode()
            writer.write(answer(HTTPStatus.OK, told, headers=((HEADER, accepted.proof(HTTPStatus.OK, told)),)))
        await writer.drain()

    server = await asyncio.start_server(serve, "0.0.0.0", port, limit=_HEAD, backlog=4096)  # noqa: S104 - 127.0.0.0/8
    async with server:
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), str(Path(sys.argv[2]))))
