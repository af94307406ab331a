"""Finding an exception in a group."""

from typing import TypeVar

_Failure = TypeVar("_Failure", bound=Exception)


def first_in(group: BaseExceptionGroup[BaseException], kind: type[_Failure]) -> _Failure:
    """Return the first exception of a kind in a group, however deep."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return first_in(error, kind)
        if isinstance(error, kind):
            return error
    raise AssertionError(f"no {kind} in {group!r}")
