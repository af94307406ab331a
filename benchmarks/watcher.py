"""A bare watcher, the reference: blocking reads, and a time for each line before anything else is done with it."""

import json
import os
import sys
import time

from benchmarks.access import Access


def watch(access: Access, namespace: str, resource: str = "pods", *, decode: bool = False) -> None:
    """Write each line of a namespace's watch to standard output, preceded by its arrival in Unix seconds.

    With `decode` it also reads what the line says, as anyone must who wants to know more than that something happened.
    """
    connection = access.connection()
    path = f"/api/v1/namespaces/{namespace}/{resource}?watch=1&allowWatchBookmarks=true&timeoutSeconds=3600"
    connection.request("GET", path, headers={**access.headers, "User-Agent": "bench-watcher"})
    response = connection.getresponse()
    os.write(1, b"%d watching\n" % response.status)
    for line in response:
        os.write(1, b"%.6f %s" % (time.time(), line))
        if decode:
            json.loads(line)


if __name__ == "__main__":
    watch(Access.load(), *sys.argv[1:3], decode="decode" in sys.argv[3:])
