"""JSON patches (RFC 6902): add, remove, replace and test."""

import copy
from typing import Any

from khealth_exporter.simulator import errors
from khealth_exporter.simulator.documents import Document


def apply(document: Document, patch: object) -> Document:
    """Return the document with the patch applied; the document itself is not changed. Raises `ApiError` (400, 422)."""
    if not isinstance(patch, list):
        raise errors.bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    result = copy.deepcopy(document)
    for step in patch:
        try:
            _step(result, step)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise errors.unprocessable(
                f"the server rejected our request due to an error in our request: {error}"
            ) from None
    return result


def _step(document: Document, step: Document) -> None:
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
    place: Any = document
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if isinstance(place, list):
        _list_step(place, last, step)
        return
    operation = step["op"]
    if operation == "test":
        _check(place.get(last), step)
    elif operation == "remove" or (operation == "replace" and last not in place):
        del place[last]
    else:
        place[last] = step["value"]


def _list_step(place: list[Any], last: str, step: Document) -> None:
    operation = step["op"]
    index = len(place) if last == "-" else int(last)
    if operation == "test":
        _check(place[index], step)
    elif operation == "remove":
        del place[index]
    elif operation == "replace":
        place[index] = step["value"]
    else:
        place.insert(index, step["value"])


def _check(found: object, step: Document) -> None:
    if found != step["value"]:
        raise ValueError(f"testing path {step['path']} failed")
