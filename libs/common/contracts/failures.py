"""What can go wrong with a WHMCS: stable codes, the text that people see, and when it is worth trying again."""

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Category(StrEnum):
    """The four names under which people look for help."""

    CONNECTION = "Connection failed"
    AUTHENTICATION = "Authentication error"
    TIMEOUT = "Timeout"
    NO_DATA = "No data after sync"


class Retry(StrEnum):
    """When the same may work again. After NO, HOURLY and DAILY a person should look: the instance needs attention."""

    SOON = "soon"
    NEXT_TICK = "next_tick"
    HOURLY = "hourly"
    DAILY = "daily"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Failure:
    """One line of the table; `text` says what was wrong and what to do next."""

    category: Category
    retry: Retry
    text: str

    @property
    def needs_attention(self) -> bool:
        """Whether the instance stops being synced until a check passes."""
        return self.retry in (Retry.HOURLY, Retry.DAILY, Retry.NO)


_C, _A, _T = Category.CONNECTION, Category.AUTHENTICATION, Category.TIMEOUT

FAILURES: Final = {
    "dns_not_found": Failure(
        _C, Retry.NEXT_TICK, "No server was found under {host}. Check the spelling of the address."
    ),
    "address_not_allowed": Failure(
        _C, Retry.NO, "This address is not reachable from MRRlytics. Use the public https address."
    ),
    "connect_refused": Failure(
        _C,
        Retry.SOON,
        "The server at {host} does not accept connections on port {port}. "
        "Ask your host whether a firewall blocks {egress}.",
    ),
    "unreachable": Failure(
        _C,
        Retry.SOON,
        "The server at {host} cannot be reached on port {port}. Ask your host whether a firewall blocks {egress}.",
    ),
    "tls_certificate": Failure(
        _C,
        Retry.NEXT_TICK,
        "The certificate of {host} cannot be trusted: {detail}. Renew or fix the certificate of {host}.",
    ),
    "tls_version": Failure(
        _C, Retry.NEXT_TICK, "The server does not offer TLS 1.3. Enable it in the web server of {host}."
    ),
    "redirected": Failure(_C, Retry.NO, "WHMCS redirects to {detail}. Enter that address."),
    "not_whmcs_api": Failure(
        _C, Retry.NO, "No WHMCS API answered under {url}. Enter the folder WHMCS is installed in."
    ),
    "blocked_by_firewall": Failure(
        _C,
        Retry.NEXT_TICK,
        "A web firewall answered instead of WHMCS. Allow {egress} for /includes/api.php.",
    ),
    "maintenance": Failure(
        _C, Retry.SOON, "WHMCS is in maintenance (HTTP {detail}). We try again by ourselves."
    ),
    "server_error": Failure(_C, Retry.SOON, "WHMCS is failing (HTTP {detail}). We try again by ourselves."),
    "bad_response": Failure(
        _C,
        Retry.NEXT_TICK,
        "WHMCS sent an answer that we could not read ({action}: {detail}). Details help support.",
    ),
    "inconsistent_pagination": Failure(
        _C,
        Retry.NEXT_TICK,
        "WHMCS sent pages that do not fit together ({action}). We try again by ourselves.",
    ),
    "action_unsupported": Failure(
        _C, Retry.DAILY, "This WHMCS has no {action}. Update WHMCS; the other data is synced."
    ),
    "version_unsupported": Failure(
        _C, Retry.DAILY, "This is WHMCS {detail}. MRRlytics reads WHMCS 8.0 or later: update WHMCS."
    ),
    "credentials_rejected": Failure(
        _A,
        Retry.NO,
        "WHMCS refused the identifier or secret. Create new API credentials and enter both.",
    ),
    "ip_not_allowed": Failure(
        _A,
        Retry.HOURLY,
        "WHMCS does not allow {detail}. Add {egress} under API IP Access Restriction, or set an access key.",
    ),
    "permission_missing": Failure(
        _A,
        Retry.HOURLY,
        "The API role lacks {action}. Tick it in Manage API Credentials → Roles.",
    ),
    "credential_unreadable": Failure(
        _A, Retry.NO, "Stored credentials can no longer be read. Enter them again."
    ),
    "connect_timeout": Failure(
        _T,
        Retry.SOON,
        "{host} did not answer within {detail} s. Ask your host whether a firewall blocks {egress}.",
    ),
    "read_timeout": Failure(
        _T,
        Retry.SOON,
        "WHMCS took longer than {detail} s ({action}). Finished pages are kept; the next run continues.",
    ),
    "run_timeout": Failure(
        _T,
        Retry.SOON,
        "The sync did not end within its time. Finished pages are kept; the next run continues.",
    ),
    "empty": Failure(
        Category.NO_DATA,
        Retry.NEXT_TICK,
        "The sync worked but WHMCS returned no clients or services. Check that the API role may read them.",
    ),
}


def text_of_skipped(code: str, action: str) -> str:
    """The text for a kind that a run went without; what exactly came is in the connector's log alone."""
    known = code if code in FAILURES else "bad_response"
    return text_of(known, action=action, detail="the connector's log says what came")


def text_of(code: str, **values: str) -> str:
    """The text of a code with its values filled in; a value that is not known reads as "?"."""
    return FAILURES[code].text.format_map(defaultdict(lambda: "?", values))
