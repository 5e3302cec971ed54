"""TLS contexts for all connections that leave the machine, and for our own HTTPS server.

Every client context verifies the certificate and the host name. The minimum is TLS 1.3, because we run PostgreSQL, Kafka and the
exporters' servers ourselves; only for a customer's WHMCS may an operator lower it (MRRLYTICS_WHMCS_TLS_MIN).
"""

import asyncio
import ipaddress
import logging
import ssl
from pathlib import Path
from typing import Final

from libs.common.pause import pause

log = logging.getLogger(__name__)

_CERTIFICATE_SECONDS: Final = 10.0


def client_context(
    ca_file: Path | None = None, minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """Return a verifying client context that trusts the system's authorities and those in `ca_file`."""
    context = ssl.create_default_context()
    context.minimum_version = minimum
    if ca_file is not None:
        context.load_verify_locations(cafile=str(ca_file))
    return context


class ServerCertificate:
    """The certificate of our HTTPS server, and the TLS context with it.

    When the files change, new connections get the new certificate; open ones continue. A file that cannot be used changes nothing, so a
    certificate that is half written ends no service.
    """

    def __init__(self, certificate_file: Path, key_file: Path) -> None:
        """Read both files. Raise OSError when one cannot be read, and ValueError when they do not fit together."""
        self._files = (certificate_file, key_file)
        self._content = self._read()
        self._current = self._load()
        self.context = self._load()
        # OpenSSL asks for the context of each connection, with or without a server name.
        self.context.sni_callback = self._choose

    def reload(self) -> bool:
        """Read the files again, and return whether there is another certificate. Raise as the constructor does."""
        content = self._read()
        if content == self._content:
            return False
        self._current, self._content = self._load(), content
        return True

    async def follow(self, stop: asyncio.Event) -> None:
        """Look for a new certificate every ten seconds until `stop`."""
        while not stop.is_set():
            await pause(stop, _CERTIFICATE_SECONDS)
            try:
                if self.reload():
                    log.info("Serving a new certificate")
            except (OSError, ValueError) as error:
                log.error(
                    "Could not read the new certificate; serving the one before", extra={"error": repr(error)}
                )

    def _read(self) -> tuple[bytes, ...]:
        return tuple(file.read_bytes() for file in self._files)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_cert_chain(*self._files, password="")
        except ssl.SSLError as error:
            raise ValueError(f"the certificate and its key cannot be used together: {error}") from error
        return context

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str, _context: ssl.SSLContext
    ) -> None:
        connection.context = self._current


def stays_on_machine(host: str | None) -> bool:
    """Return whether a connection to `host` needs no TLS: a unix socket (no host, or a path) or a loopback address."""
    if not host or host.startswith("/"):
        return True
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
