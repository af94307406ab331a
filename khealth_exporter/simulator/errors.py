"""The API server's errors, with the Status objects of the real one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.resources import Resource


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of a Status' details.causes."""

    reason: str = ""
    message: str = ""
    field: str = ""

    def document(self) -> Document:
        """Return the cause as JSON, without empty fields."""
        pairs = {"reason": self.reason, "message": self.message, "field": self.field}
        return {key: value for key, value in pairs.items() if value}


class ApiError(Exception):
    """A request that the API server refuses."""

    def __init__(
        self, code: int, reason: str, message: str, *, details: Document | None = None, plain: bool = False
    ) -> None:
        """Take the HTTP code, Status.reason, Status.message and Status.details; `plain` answers are bare text."""
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.plain = plain

    def status(self) -> Document:
        """Return the Status object."""
        status: Document = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        status["message"] = self.message
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status

    def headers(self) -> Mapping[str, str]:
        """Return the headers that tell the client when to retry."""
        seconds = (self.details or {}).get("retryAfterSeconds")
        return {"Retry-After": str(seconds)} if seconds else {}


def _details(resource: Resource, name: str, causes: Sequence[Cause] = ()) -> Document:
    details: Document = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.plural
    if causes:
        details["causes"] = [cause.document() for cause in causes]
    return details


def bad_request(message: str) -> ApiError:
    """Return 400: the request is malformed."""
    return ApiError(HTTPStatus.BAD_REQUEST, "BadRequest", message)


def unauthorized() -> ApiError:
    """Return 401: the token is unknown."""
    return ApiError(HTTPStatus.UNAUTHORIZED, "Unauthorized", "Unauthorized")


def forbidden(resource: Resource, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    """Return 403: admission or authorization refuses."""
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    return ApiError(
        HTTPStatus.FORBIDDEN, "Forbidden", f"{subject} is forbidden: {why}", details=_details(resource, name, causes)
    )


def path_forbidden(user: str, verb: str, path: str) -> ApiError:
    """Return 403: the user may not use a path outside the resources."""
    message = f'forbidden: User "{user}" cannot {verb} path "{path}"'
    return ApiError(HTTPStatus.FORBIDDEN, "Forbidden", message, details={})


def not_found(resource: Resource, name: str) -> ApiError:
    """Return 404: there is no such object."""
    message = f'{resource.qualified} "{name}" not found'
    return ApiError(HTTPStatus.NOT_FOUND, "NotFound", message, details=_details(resource, name))


def no_such_resource() -> ApiError:
    """Return 404: there is no such resource."""
    message = "the server could not find the requested resource"
    return ApiError(HTTPStatus.NOT_FOUND, "NotFound", message, details={})


def method_not_allowed() -> ApiError:
    """Return 405: the resource does not support the verb."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", message, details={})


def already_exists(resource: Resource, name: str) -> ApiError:
    """Return 409: the name is taken."""
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(HTTPStatus.CONFLICT, "AlreadyExists", message, details=_details(resource, name))


def conflict(resource: Resource, name: str, why: str, *, subresource: str = "") -> ApiError:
    """Return 409: the object differs from what the client expects."""
    plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
    subject = f"{plural}.{resource.group}" if resource.group else plural
    return ApiError(
        HTTPStatus.CONFLICT,
        "Conflict",
        f'Operation cannot be fulfilled on {subject} "{name}": {why}',
        details={**_details(resource, name), "kind": plural},
    )


def precondition_failed(resource: Resource, name: str, why: str) -> ApiError:
    """Return 409: a delete's precondition does not hold; the real server names the kind here, not the plural."""
    details: Document = {"name": name, "kind": resource.kind}
    if resource.group:
        details["group"] = resource.group
    message = f'Operation cannot be fulfilled on {resource.qualified_kind} "{name}": {why}'
    return ApiError(HTTPStatus.CONFLICT, "Conflict", message, details=details)


def expired(message: str) -> ApiError:
    """Return 410: the resourceVersion or continue token is too old."""
    return ApiError(HTTPStatus.GONE, "Expired", message)


def unsupported_media_type() -> ApiError:
    """Return 415: the patch type is not supported."""
    message = "415: Unsupported Media Type"
    return ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message, details={})


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> ApiError:
    """Return 422: the object breaks the rules of its kind; each cause names a field."""
    told = [f"{cause.field}: {cause.message}" for cause in causes]
    listing = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    details = {**_details(resource, name, causes), "kind": resource.kind}
    message = f'{resource.qualified_kind} "{name}" is invalid: {listing}'
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message, details=details)


def unprocessable(message: str) -> ApiError:
    """Return 422: a patch that cannot be applied."""
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message, details={})


def revision_required(resource: Resource, name: str) -> ApiError:
    """Return 422: an update of this resource needs a resourceVersion."""
    cause = Cause("FieldValueInvalid", "Invalid value: 0: must be specified for an update", "metadata.resourceVersion")
    message = f'{resource.qualified} "{name}" is invalid: {cause.field}: {cause.message}'
    details = _details(resource, name, [cause])
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message, details=details)


def too_many_requests() -> ApiError:
    """Return 429 as API priority and fairness does: bare text."""
    message = "Too many requests, please try again later."
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequests", message, details={"retryAfterSeconds": 1}, plain=True
    )


def internal_error(why: str) -> ApiError:
    """Return 500: an internal error."""
    message = f"Internal error occurred: {why}"
    details: Document = {"causes": [{"message": why}]}
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", message, details=details)


def malformed_revision(given: str) -> ApiError:
    """Return 500: the resourceVersion of an update is not a number."""
    message = f'strconv.ParseUint: parsing "{given}": invalid syntax'
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "", message)


def storage_error() -> ApiError:
    """Return 500: etcd timed out."""
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "", "etcdserver: request timed out")


def service_unavailable() -> ApiError:
    """Return 503: the API server is not serving."""
    message = "the server is currently unable to handle the request"
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", message)


def too_large_revision(asked: int, current: int) -> ApiError:
    """Return 504: the resourceVersion is in the future."""
    cause = Cause("ResourceVersionTooLarge", "Too large resource version")
    details: Document = {"causes": [cause.document()], "retryAfterSeconds": 1}
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return ApiError(HTTPStatus.GATEWAY_TIMEOUT, "Timeout", message, details=details)
