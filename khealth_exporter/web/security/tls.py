"""From a web configuration's TLS keys to what a handshake needs, with the place of all that is wrong."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from khealth_exporter.config.problem import Problem
from khealth_exporter.config.schema import Found
from khealth_exporter.web.security.files import Files, reason
from khealth_exporter.web.security.web_config_schema import TlsSettings

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_OF_TLS13 = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})
_CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
"""Go's crypto/tls.CipherSuites() up to TLS 1.2, which is what the format takes, by OpenSSL's names."""
_VERIFIED = {
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


class TlsReader:
    """Turns one section into an SSLContext, and collects what is wrong with it in `problems`."""

    def __init__(self, settings: TlsSettings, found: Found, files: Files, folder: Path) -> None:
        self._settings, self._found, self._files, self._folder = settings, found, files, folder
        self.problems: list[Problem] = []
        self._missing: list[str] = []

    def context(self) -> ssl.SSLContext | None:
        """Return what a handshake needs; None if that is nothing, or if anything is wrong."""
        if not self._found.value.entries:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        self._versions(context)
        self._ciphers(context)
        self._curve(context)
        self._certificate(context)
        self._clients(context)
        if self._missing:
            self.problems.append(self._found.problem(f"needs {' and '.join(self._missing)}"))
        return None if self.problems else context

    def _wrong(self, key: str, message: str) -> None:
        value = self._found.value.entries.get(key)
        self.problems.append(self._found.problem(message, value.place if value else None, key))

    def _versions(self, context: ssl.SSLContext) -> None:
        least, most = self._settings.min_version, self._settings.max_version
        for key, version in (("min_version", least), ("max_version", most)):
            if version not in _VERSIONS:
                self._wrong(key, "TLS 1.0 and 1.1 are not spoken here (RFC 8996): write TLS12 or TLS13")
                return
        if least > most:
            self._wrong("min_version", f"{least} is above max_version ({most})")
            return
        context.minimum_version, context.maximum_version = _VERSIONS[least], _VERSIONS[most]

    def _ciphers(self, context: ssl.SSLContext) -> None:
        if not self._settings.prefer_server_cipher_suites:
            context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        wanted = self._settings.cipher_suites
        if unknown := [name for name in wanted if name not in _CIPHERS and name not in _OF_TLS13]:
            known = ", ".join((*_CIPHERS, *sorted(_OF_TLS13)))
            self._wrong("cipher_suites", f"{unknown[0]} is not known; known: {known}")
        elif older := [_CIPHERS[name] for name in wanted if name in _CIPHERS]:
            context.set_ciphers(":".join(older))
        elif wanted and context.maximum_version == ssl.TLSVersion.TLSv1_2:
            self._wrong("cipher_suites", "has none that TLS 1.2 knows, and max_version is TLS12")
        elif wanted:
            context.minimum_version = ssl.TLSVersion.TLSv1_3

    def _curve(self, context: ssl.SSLContext) -> None:
        wanted = self._settings.curve_preferences
        if unknown := [name for name in wanted if name not in _CURVES]:
            self._wrong("curve_preferences", f"{unknown[0]} is not known; known: {', '.join(_CURVES)}")
        elif len(wanted) > 1:
            message = "Python can offer one curve, or all in OpenSSL's order: name one, or leave the key out"
            self._wrong("curve_preferences", message)
        elif wanted:
            context.set_ecdh_curve(_CURVES[wanted[0]])

    def _certificate(self, context: ssl.SSLContext) -> None:
        certificate, key = self._pem("cert"), self._pem("key")
        self._missing += (f"{name}_file" for name, content in (("cert", certificate), ("key", key)) if content == b"")
        if not certificate or not key:
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=certificate.decode())
        except (ssl.SSLError, ValueError):
            self._wrong(self._given("cert"), "holds no certificate in PEM")
            return
        try:
            with _in_memory(certificate) as first, _in_memory(key) as second:
                context.load_cert_chain(first, second, password=_no_password)
        except _EncryptedError:
            self._wrong(self._given("key"), "is encrypted with a password, which khealth does not have")
        except ssl.SSLError as error:
            # OpenSSL gives no reason where it finds nothing to read.
            reasons = {None: "holds no key in PEM", "KEY_VALUES_MISMATCH": "is not the certificate's key"}
            cannot = f"cannot be used with this certificate: {error.reason}"
            self._wrong(self._given("key"), reasons.get(error.reason, cannot))

    def _clients(self, context: ssl.SSLContext) -> None:
        kind, authority = self._settings.client_auth_type, self._pem("client_ca")
        if kind in {"RequireAnyClientCert", "RequireClientCert"}:
            what = "a certificate that nobody verifies proves nothing, and Python takes none"
            self._wrong("client_auth_type", f"{what}: write RequireAndVerifyClientCert, with client_ca_file")
            return
        if kind == "NoClientCert" and authority:
            self._wrong(self._given("client_ca"), "is given while client_auth_type asks for no certificate")
        if kind not in _VERIFIED and self._settings.client_allowed_sans:
            self._wrong("client_allowed_sans", "needs client_auth_type: RequireAndVerifyClientCert")
        if kind in _VERIFIED and authority == b"":
            self._missing.append("client_ca_file (who signs clients' certificates)")
        if not authority:
            return
        try:
            context.load_verify_locations(cadata=authority.decode())
        except (ssl.SSLError, ValueError):
            self._wrong(self._given("client_ca"), "holds no certificate in PEM")
        # Whatever is in client_ca is trusted, as in Go, and not only roots.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = _VERIFIED.get(kind, ssl.CERT_NONE)

    def _given(self, name: str) -> str:
        return f"{name}_file" if getattr(self._settings, f"{name}_file") else name

    def _pem(self, name: str) -> bytes | None:
        """Return what a key, or the file that it names, holds: nothing if neither is given, None if that is wrong."""
        text, file = str(getattr(self._settings, name)), str(getattr(self._settings, f"{name}_file"))
        if text and file:
            self._wrong(f"{name}_file", f"is given besides {name}: one of them would not be used")
            return None
        if not file:
            return text.encode()
        try:
            return self._files.read(self._folder / file) or b"\n"
        except OSError as error:
            self._wrong(f"{name}_file", f"{self._folder / file} cannot be read: {reason(error)}")
            return None


class _EncryptedError(Exception):
    pass


def _no_password() -> str:
    # Without it OpenSSL would ask at the terminal, and wait.
    raise _EncryptedError


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Yield the path of a file that is on no disk: OpenSSL loads a server's certificate and key from files alone."""
    with os.fdopen(os.memfd_create("khealth", os.MFD_CLOEXEC), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"
