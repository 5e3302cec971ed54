"""The one place that makes TLS contexts: 1.3 at least, always verified."""

import ipaddress
import ssl
from pathlib import Path


def client_context(
    ca_file: Path | None = None, minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """A verifying client context; `ca_file` is trusted in addition to the system's authorities."""
    context = ssl.create_default_context()
    context.minimum_version = minimum
    if ca_file is not None:
        context.load_verify_locations(cafile=str(ca_file))
    return context


def stays_on_machine(host: str | None) -> bool:
    """True for a unix socket (no host, or a path) and loopback addresses: TLS is for what leaves the machine."""
    if not host or host.startswith("/"):
        return True
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
