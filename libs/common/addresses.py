"""The address of a WHMCS installation: normalise what people paste. Pure."""

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from libs.common.errors import Permanent

_MAX_LENGTH: Final = 2048
_FILE: Final = re.compile(r"[^/]+\.php$", re.IGNORECASE)
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# What mail programs, chats and documents put around an address.
_AROUND: Final = " \t\r\n\u00a0\u200b\ufeff\"'<>“”„‘’«»"  # noqa: RUF001
_TWO_SCHEMES: Final = re.compile(r"^(?:https?://)+(?=https?://)", re.IGNORECASE)


def normalise_url(text: str) -> str:
    """Return the WHMCS system URL as `https://host[:port][/folder]`, without a trailing slash.

    Remove what names a page instead of the installation (`/includes/api.php`, `index.php`, `?query`). Raise Permanent with
    the code `url_scheme` or `url_invalid`; the text names the part that is wrong.
    """
    address = _TWO_SCHEMES.sub("", text.strip(_AROUND))
    if not address or len(address.encode()) > _MAX_LENGTH:
        raise Permanent(
            "url_invalid",
            f"The address must have 1 to {_MAX_LENGTH:,} characters, fewer of those beyond ASCII.",
        )
    if any(ord(character) < 0x21 or ord(character) == 0x7F for character in address):
        raise Permanent("url_invalid", "The address must not hold spaces or control characters.")
    if "://" not in address:
        address = f"https://{address}"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise Permanent("url_invalid", "The port or host of the address is not valid.") from error
    if port == 0:
        raise Permanent("url_invalid", "The port of the address is not valid.")
    if parts.scheme.lower() != "https":
        raise Permanent(
            "url_scheme", "The address must begin with https://. MRRlytics reads WHMCS only over TLS."
        )
    if "@" in parts.netloc:
        raise Permanent("url_invalid", "The address must not hold a user name or password.")
    host = _host(parts)
    path = _folder(parts.path)
    return f"https://{host}{'' if port in (None, 443) else f':{port}'}{path}"


def origin(address: str) -> str:
    """Return `https://host:port` of a normalised address, always with the port. Credentials are bound to it."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    return f"https://{f'[{host}]' if ':' in host else host}:{parts.port or 443}"


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".")
    if not host:
        raise Permanent("url_invalid", "The address names no host.")
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return f"[{literal.compressed}]" if literal.version == 6 else literal.compressed
    try:
        encoded = host.encode("idna").decode().lower()
    except UnicodeError as error:
        raise Permanent("url_invalid", f"The host {host[:80]!r} is not a valid name.") from error
    if not all(_LABEL.fullmatch(label) for label in encoded.split(".")):
        raise Permanent("url_invalid", f"The host {host[:80]!r} is not a valid name.")
    return encoded


def _folder(path: str) -> str:
    """Return the folder of the installation. The path does not always show it, so a check also tries the folders above."""
    folders = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in folders:
        raise Permanent("url_invalid", "The path of the address must not hold '..'.")
    for number, folder in enumerate(folders):
        if _FILE.search(folder):  # what follows belongs to a page, such as /index.php/store
            folders = folders[: number + 1]
            break
    is_file = bool(folders and _FILE.search(folders[-1]))
    if is_file:
        folders.pop()
    last = folders[-1].lower() if folders else ""
    if last in ("admin", "includes") or (last == "login" and not is_file):
        folders.pop()
    return "".join(f"/{part}" for part in folders)
