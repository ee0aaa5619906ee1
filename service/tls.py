"""The certificate and the key that the service shows, where it speaks TLS itself."""

import ssl
from pathlib import Path
from typing import NamedTuple

from service.settings import Misconfigured, Settings


class Certificate(NamedTuple):
    """The files of a certificate, and the password of its key."""

    chain: Path
    key: Path
    password: str | None

    def load_into(self, context: ssl.SSLContext) -> None:
        """Show it to clients that come from now on.

        Raises `Misconfigured`, and changes nothing, where the files cannot be used.
        """
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self._load(context)

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            # Without a password, OpenSSL would ask for it at the terminal.
            context.load_cert_chain(self.chain, self.key, lambda: self.password or "")
        except OSError as error:  # of which ssl.SSLError is one
            raise Misconfigured(
                f"the TLS certificate {self.chain} with the key {self.key} cannot be used: {error}"
            ) from error


def certificate(settings: Settings) -> Certificate | None:
    """Return the certificate that the settings name; None where they name none.

    Raises `Misconfigured` where they name half of it, or files that cannot be used.
    """
    chain, key = settings.tls_certificate, settings.tls_key
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        missing = "CXR_TLS_CERTIFICATE" if chain is None else "CXR_TLS_KEY"
        raise Misconfigured(f"TLS needs a certificate and its key: {missing} is not set.")
    found = Certificate(chain, key, _password(settings.tls_key_password_file))
    found.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    return found


def _password(file: Path | None) -> str | None:
    try:
        return file.read_text().rstrip("\r\n") if file is not None else None
    except OSError as error:
        raise Misconfigured(f"the password of the TLS key cannot be read: {error}") from error
