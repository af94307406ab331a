"""A user's `auth-provider`: the id-token that a login has left in the kubeconfig."""

import base64
import binascii
from dataclasses import dataclass

import msgspec

from khealth_exporter.cluster.credentials.exec_plugin import CredentialsError
from khealth_exporter.cluster.credentials.kubeconfig_file import AuthProvider

_INSTEAD = {
    "oidc": "kubelogin, `kubectl oidc-login get-token`",
    "gcp": "gke-gcloud-auth-plugin",
    "azure": "kubelogin, `kubelogin get-token`",
}
"""The exec plug-in that does what each provider did."""


class _Claims(msgspec.Struct):
    exp: float = 0.0


@dataclass(frozen=True, slots=True)
class IdToken:
    """A token, and when it expires, in Unix seconds."""

    token: str
    expires: float


def check(provider: AuthProvider) -> None:
    """Raise CredentialsError for what kubectl refuses, even where the user has something else to show."""
    if provider.name != "oidc":
        raise CredentialsError(f"auth-provider {provider.name!r} is not supported{_use(provider)}")
    for setting in ("idp-issuer-url", "client-id"):
        if not provider.config.get(setting):
            raise CredentialsError(f"auth-provider oidc: {setting} is missing")


def id_token(provider: AuthProvider, now: float) -> IdToken:
    """Return the id-token of an OIDC provider; raise CredentialsError where there is none that is valid.

    khealth never refreshes it: a refresh token may be good for one use, so the next start, and kubectl, would be
    logged out.
    """
    token = provider.config.get("id-token", "")
    if not token:
        raise CredentialsError(f"auth-provider oidc: there is no id-token{_use(provider)}")
    expires = _expires(token)
    if now >= expires:
        raise CredentialsError(
            f"auth-provider oidc: the id-token has expired, and khealth does not refresh it{_use(provider)}"
        )
    return IdToken(token, expires)


def _use(provider: AuthProvider) -> str:
    instead = _INSTEAD.get(provider.name)
    return f"; use the exec plug-in {instead} instead" if instead else "; use an exec plug-in instead"


def _expires(token: str) -> float:
    """Return a token's end in Unix seconds; 0 if it has none: Go takes it for expired."""
    try:
        _, payload, _ = token.split(".")
        claims = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        return msgspec.json.decode(claims, type=_Claims).exp
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        # The cause would quote the token.
        raise CredentialsError("auth-provider oidc: the id-token is no JSON Web Token") from error
