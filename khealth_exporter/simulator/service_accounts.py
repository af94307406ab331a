"""Tokens of service accounts: issued on request, valid as long as the bound object exists."""

import base64
import binascii
from typing import Final

import msgspec

from khealth_exporter.simulator import errors
from khealth_exporter.simulator.documents import Document, decode, encode, is_deleting, timestamp, uid_of
from khealth_exporter.simulator.rbac import PREFIX
from khealth_exporter.simulator.resources import PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from khealth_exporter.simulator.store import Store

_BINDABLE: Final[dict[str, Resource]] = {"Secret": SECRETS, "Pod": PODS}
_HOUR: Final = 3600


def issue(store: Store, namespace: str, name: str, asked: Document, now: float) -> Document:
    """Return the TokenRequest with its token. Raises `ApiError` (400, 404, 409).

    The token contains its own validity and is not signed: it is useless outside the simulator.
    """
    account = store.get(SERVICE_ACCOUNTS, (namespace, name))
    if account is None:
        raise errors.not_found(SERVICE_ACCOUNTS, name)
    spec: Document = asked.get("spec") or {}
    seconds = int(spec.get("expirationSeconds") or _HOUR)
    said = {"account": [namespace, name, uid_of(account)], "until": now + seconds}
    if bound := spec.get("boundObjectRef"):
        said["bound"] = _bound(store, namespace, bound)
    token = base64.urlsafe_b64encode(encode(said)).decode().rstrip("=")
    status = {"token": token, "expirationTimestamp": timestamp(now + seconds)}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status}


def _bound(store: Store, namespace: str, reference: Document) -> list[str]:
    kind, name = str(reference.get("kind")), str(reference.get("name"))
    if kind not in _BINDABLE:
        raise errors.bad_request(f"cannot bind token to object of type /{reference.get('apiVersion')}, Kind={kind}")
    found = store.get(_BINDABLE[kind], (namespace, name))
    if found is None:
        raise errors.not_found(_BINDABLE[kind], name)
    if reference.get("uid", uid_of(found)) != uid_of(found):
        why = (
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. The object "
            "might have been deleted and then recreated"
        )
        raise errors.precondition_failed(_BINDABLE[kind], name, why)
    return [kind, name, uid_of(found)]


def user_of(store: Store, token: str, now: float) -> str | None:
    """Return the token's user; None if it is invalid, has expired, or its bound object is gone."""
    try:
        said = decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        (namespace, name, uid), until = said["account"], float(said["until"])
        kind, bound, bound_uid = said.get("bound") or ("", "", "")
    except (binascii.Error, msgspec.DecodeError, AttributeError, LookupError, TypeError, ValueError):
        return None
    alive = _alive(store, SERVICE_ACCOUNTS, namespace, name, uid) and now < until
    if not alive or (kind and not _alive(store, _BINDABLE[kind], namespace, bound, bound_uid)):
        return None
    return f"{PREFIX}{namespace}:{name}"


def _alive(store: Store, resource: Resource, namespace: str, name: str, uid: str) -> bool:
    found = store.get(resource, (namespace, name))
    return found is not None and uid_of(found) == uid and not is_deleting(found)
