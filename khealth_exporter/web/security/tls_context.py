"""Builds an SSLContext from the TLS section of a web configuration, and reports each error with its place."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from khealth_exporter.config.problem import Problem
from khealth_exporter.config.schema import Found
from khealth_exporter.web.security.file_digests import DigestingReader, error_text
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
"""OpenSSL's names of Go's crypto/tls.CipherSuites() for TLS 1.2, which are the names in the file."""
_VERIFIED = {
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


class TlsContextBuilder:
    """Builds an SSLContext from one section, and collects the errors in `problems`."""

    def __init__(self, settings: TlsSettings, found: Found, files: DigestingReader, folder: Path) -> None:
        self._settings, self._found, self._files, self._folder = settings, found, files, folder
        self.problems: list[Problem] = []
        self._missing: list[str] = []

    def build(self) -> ssl.SSLContext | None:
        """Return the SSLContext; None if the section is empty or has errors."""
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

    def _error(self, key: str, message: str) -> None:
        value = self._found.value.entries.get(key)
        self.problems.append(self._found.problem(message, value.place if value else None, key))

    def _versions(self, context: ssl.SSLContext) -> None:
        lowest, highest = self._settings.min_version, self._settings.max_version
        for key, version in (("min_version", lowest), ("max_version", highest)):
            if version not in _VERSIONS:
                self._error(key, "TLS 1.0 and 1.1 are not supported (RFC 8996): write TLS12 or TLS13")
                return
        if lowest > highest:
            self._error("min_version", f"{lowest} is above max_version ({highest})")
            return
        context.minimum_version, context.maximum_version = _VERSIONS[lowest], _VERSIONS[highest]

    def _ciphers(self, context: ssl.SSLContext) -> None:
        if not self._settings.prefer_server_cipher_suites:
            context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        wanted = self._settings.cipher_suites
        if unknown := [name for name in wanted if name not in _CIPHERS and name not in _OF_TLS13]:
            known = ", ".join((*_CIPHERS, *sorted(_OF_TLS13)))
            self._error("cipher_suites", f"{unknown[0]} is unknown; known: {known}")
        elif older := [_CIPHERS[name] for name in wanted if name in _CIPHERS]:
            context.set_ciphers(":".join(older))
        elif wanted and context.maximum_version == ssl.TLSVersion.TLSv1_2:
            self._error("cipher_suites", "has no suite for TLS 1.2, and max_version is TLS12")
        elif wanted:
            context.minimum_version = ssl.TLSVersion.TLSv1_3

    def _curve(self, context: ssl.SSLContext) -> None:
        wanted = self._settings.curve_preferences
        if unknown := [name for name in wanted if name not in _CURVES]:
            self._error("curve_preferences", f"{unknown[0]} is unknown; known: {', '.join(_CURVES)}")
        elif len(wanted) > 1:
            message = "Python can set only one curve: write one, or remove the key to allow all"
            self._error("curve_preferences", message)
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
            self._error(self._source_key("cert"), "has no certificate in PEM format")
            return
        try:
            with _in_memory(certificate) as first, _in_memory(key) as second:
                context.load_cert_chain(first, second, password=_no_password)
        except _EncryptedError:
            self._error(self._source_key("key"), "is encrypted with a password; khealth supports only unencrypted keys")
        except ssl.SSLError as error:
            # OpenSSL gives no reason if it finds no key.
            reasons = {None: "has no key in PEM format", "KEY_VALUES_MISMATCH": "does not match the certificate"}
            other = f"cannot be used with this certificate: {error.reason}"
            self._error(self._source_key("key"), reasons.get(error.reason, other))

    def _clients(self, context: ssl.SSLContext) -> None:
        mode, authority = self._settings.client_auth_type, self._pem("client_ca")
        if mode in {"RequireAnyClientCert", "RequireClientCert"}:
            what = "unverified client certificates are not supported"
            self._error("client_auth_type", f"{what}: write RequireAndVerifyClientCert, and set client_ca_file")
            return
        if mode == "NoClientCert" and authority:
            self._error(self._source_key("client_ca"), "has no effect: client_auth_type requests no certificate")
        if mode not in _VERIFIED and self._settings.client_allowed_sans:
            self._error("client_allowed_sans", "needs client_auth_type: RequireAndVerifyClientCert")
        if mode in _VERIFIED and authority == b"":
            self._missing.append("client_ca_file (the authority that signs client certificates)")
        if not authority:
            return
        try:
            context.load_verify_locations(cadata=authority.decode())
        except (ssl.SSLError, ValueError):
            self._error(self._source_key("client_ca"), "has no certificate in PEM format")
        # As in Go, every certificate in client_ca is trusted, not only root certificates.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = _VERIFIED.get(mode, ssl.CERT_NONE)

    def _source_key(self, name: str) -> str:
        return f"{name}_file" if getattr(self._settings, f"{name}_file") else name

    def _pem(self, name: str) -> bytes | None:
        """Return the PEM text of NAME or NAME_file: b"" if neither is set, None after an error."""
        text, file = str(getattr(self._settings, name)), str(getattr(self._settings, f"{name}_file"))
        if text and file:
            self._error(f"{name}_file", f"cannot be set together with {name}: remove one of them")
            return None
        if not file:
            return text.encode()
        try:
            return self._files.read(self._folder / file) or b"\n"
        except OSError as error:
            self._error(f"{name}_file", f"{self._folder / file} cannot be read: {error_text(error)}")
            return None


class _EncryptedError(Exception):
    pass


def _no_password() -> str:
    # Without this callback OpenSSL prompts for the password on the terminal.
    raise _EncryptedError


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Yield the path of a file in memory: OpenSSL loads a server's certificate and key only from files."""
    with os.fdopen(os.memfd_create("khealth", os.MFD_CLOEXEC), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"
