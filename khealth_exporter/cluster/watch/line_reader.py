"""Reading the lines of a watch."""

from typing import Generic, TypeVar

import msgspec

from khealth_exporter.cluster.decoding import ReadLine, WatchLine, decode, parse
from khealth_exporter.cluster.errors import judge
from khealth_exporter.cluster.objects import KubernetesObject

T = TypeVar("T", bound=KubernetesObject)


class Broken(Exception):  # noqa: N818 - a turn that watches take, no error
    """A stream that is over, with the cause as counted, and whether only a new list can be trusted."""

    def __init__(self, cause: str, *, relist: bool) -> None:
        super().__init__(cause)
        self.cause, self.relist = cause, relist


class LineReader(Generic[T]):
    """Decodes lines: at once if they are well formed, else with patience."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._line: type[ReadLine[T]] = ReadLine[kind]  # type: ignore[valid-type]

    def read(self, raw: bytes) -> tuple[str, T]:
        """Return a line's type and object; raise Broken for the server's error, or msgspec's error."""
        try:
            read = parse(self._line, raw)
        except msgspec.DecodeError:
            line = parse(WatchLine, raw)
            if line.type == "ERROR":
                raise _refused(bytes(line.object)) from None
            return line.type, decode(self._kind, line.object)
        if read.type == "ERROR":
            raise _refused(bytes(parse(WatchLine, raw).object))
        return read.type, read.object


def _refused(status: bytes) -> Broken:
    return Broken("expired" if judge(200, status).expired else "error", relist=True)
