"""TLS contexts for all connections that leave the machine.

Every context verifies the certificate and the host name. The minimum is TLS 1.3, because we run PostgreSQL, Kafka and the
exporters' servers ourselves; only for a customer's WHMCS may an operator lower it (MRRLYTICS_WHMCS_TLS_MIN).
"""

import ipaddress
import ssl
from pathlib import Path


def client_context(
    ca_file: Path | None = None, minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """Return a verifying client context that trusts the system's authorities and those in `ca_file`."""
    context = ssl.create_default_context()
    context.minimum_version = minimum
    if ca_file is not None:
        context.load_verify_locations(cafile=str(ca_file))
    return context


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
