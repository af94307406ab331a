"""When the API server's certificate ends, taken from handshakes that are made anyway."""

import ssl
from collections.abc import Callable


def observe(tls: ssl.SSLContext, seen: Callable[[float], None]) -> None:
    """Call `seen` with the certificate's end in Unix seconds after each handshake that this context makes.

    Nothing is seen where the certificate is not verified: Python then does not decode it.
    """
    if tls.sslobject_class is not ssl.SSLObject:
        return

    class Observed(ssl.SSLObject):
        """A TLS connection that reports its peer's certificate."""

        def do_handshake(self) -> None:
            """Do the handshake; it ends at the first call that raises nothing."""
            super().do_handshake()
            end = (self.getpeercert() or {}).get("notAfter")
            if isinstance(end, str):
                seen(float(ssl.cert_time_to_seconds(end)))

    tls.sslobject_class = Observed
