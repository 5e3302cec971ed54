"""What can go wrong with a WHMCS: a stable code, the text that people see, and when to try again."""

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
    """When the same may work again. After NO, HOURLY and DAILY a person has to act: the instance needs attention."""

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
        """Return whether the instance is no longer synced until a check passes."""
        return self.retry in (Retry.HOURLY, Retry.DAILY, Retry.NO)


_C, _A, _T = Category.CONNECTION, Category.AUTHENTICATION, Category.TIMEOUT

FAILURES: Final = {
    "dns_not_found": Failure(
        _C, Retry.NEXT_TICK, "No server was found under {host}. Check the spelling of the address."
    ),
    "dns_timeout": Failure(
        _T,
        Retry.SOON,
        "No name server told the address of {host}. This often passes by itself. "
        "If it stays, ask the company that runs its DNS.",
    ),
    "address_not_allowed": Failure(
        _C, Retry.NO, "MRRlytics may not connect to this address. Use the public https address of your WHMCS."
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
    "redirected_inside": Failure(
        _C,
        Retry.NO,
        "WHMCS redirects to {detail}, where MRRlytics may not connect. "
        "Turn this redirect off for /includes/api.php, or enter a public https address of your WHMCS.",
    ),
    "not_whmcs_api": Failure(
        _C, Retry.NO, "No WHMCS API answered under {url}. Enter the folder WHMCS is installed in."
    ),
    "blocked_by_firewall": Failure(
        _C,
        Retry.NEXT_TICK,
        "A web firewall answered instead of WHMCS. Allow {egress} for /includes/api.php.",
    ),
    "password_required": Failure(
        _A,
        Retry.HOURLY,
        "The web server asks for a user name and password of its own before WHMCS. "
        "Turn this protection off for /includes/api.php.",
    ),
    "rate_limited": Failure(
        _C,
        Retry.SOON,
        "The site takes no more calls at the moment (HTTP 429). This passes by itself. "
        "If it stays, exempt {egress} from its limit, or lower the requests per second of this instance.",
    ),
    "maintenance": Failure(
        _C,
        Retry.SOON,
        "WHMCS is in maintenance mode (HTTP {detail}). Syncs work again when it ends. "
        "If an upgrade of WHMCS hangs, finish it.",
    ),
    "server_error": Failure(
        _C,
        Retry.SOON,
        "The server of WHMCS answered with an error (HTTP {detail}). This often passes by itself. "
        "If it stays, ask your host to look at the error log of the web server.",
    ),
    "bad_response": Failure(
        _C,
        Retry.NEXT_TICK,
        "WHMCS sent an answer to {action} that we could not read{reason}. "
        "If this stays, ask your host for the PHP error log of that time.",
    ),
    "inconsistent_pagination": Failure(
        _C,
        Retry.NEXT_TICK,
        "The pages that WHMCS sent for {action} do not fit together. The next full sync reads them anew. "
        "If this stays, turn caching off for /includes/api.php.",
    ),
    "not_whole": Failure(
        _C,
        Retry.NEXT_TICK,
        "WHMCS did not send all rows of {action}{reason}. We use those that came, and the next full sync reads the "
        "list anew. If this stays, turn caching off for /includes/api.php.",
    ),
    "action_unsupported": Failure(
        _C, Retry.DAILY, "This WHMCS has no {action}. Update WHMCS. The other data is synced."
    ),
    "version_unsupported": Failure(
        _C, Retry.DAILY, "This is WHMCS {detail}, and MRRlytics reads WHMCS 8.0 or later. Update WHMCS."
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
    "ip_banned": Failure(
        _A,
        Retry.HOURLY,
        "WHMCS has banned {egress}. Remove it under Configuration → System Settings → Banned IPs.",
    ),
    "admin_missing": Failure(
        _A,
        Retry.NO,
        "WHMCS found no administrator behind these API credentials. "
        "Create new ones for an active administrator and enter both.",
    ),
    "permission_missing": Failure(
        _A,
        Retry.HOURLY,
        "The API role lacks {action}. Tick it in Manage API Credentials → API Roles.",
    ),
    "credential_unreadable": Failure(
        _A, Retry.NO, "We can no longer read the stored credentials. Enter them again."
    ),
    "connect_timeout": Failure(
        _T,
        Retry.SOON,
        "{host} did not answer within {detail} s. Ask your host whether a firewall blocks {egress}.",
    ),
    "read_timeout": Failure(
        _T,
        Retry.SOON,
        "WHMCS took longer than {detail} s to answer {action}. What we have read so far is kept.",
    ),
    "run_timeout": Failure(
        _T,
        Retry.SOON,
        "The sync did not end within its time. What we have read so far is kept.",
    ),
    "empty": Failure(
        Category.NO_DATA,
        Retry.NEXT_TICK,
        "The sync worked but WHMCS returned no clients or services. Check that the API role may read them.",
    ),
}


# What is missing without each action that no figure needs.
OPTIONAL: Final = {
    "GetActivityLog": "a changed price or status can take an hour to show",
    "GetCurrencies": "we do not know your exchange rates",
    "GetPromotions": "we cannot tell when a discount ends",
    "GetTransactions": "we do not see payments that belong to no invoice",
    "WhmcsDetails": "we cannot tell which version of WHMCS you run",
}

# What to do about text around the answers of WHMCS.
NOISE: Final = (
    "Something on the site writes text around the answers of WHMCS. We can read them all the same. To be safe, turn off display_errors "
    "in PHP, and caching and length hiding for /includes/api.php."
)


def text_of(code: str, **values: str) -> str:
    """Return the text of a code with its values filled in; a value that is missing reads as "?"."""
    detail = values.get("detail")
    reason = f": {detail}" if detail else ""
    return FAILURES[code].text.format_map(defaultdict(lambda: "?", values, reason=reason))


def text_of_skipped(code: str, action: str) -> str:
    """Return the text for a kind that a run could not read. The detail is only in the log of the connector."""
    if code == "permission_missing":
        return text_of_missing(action)
    return text_of(code if code in FAILURES else "bad_response", action=action)


def text_of_missing(action: str) -> str:
    """Return the text for an action that the API role lacks; of an optional one it says what is missing without it."""
    if action not in OPTIONAL:
        return text_of("permission_missing", action=action)
    return (
        f"Optional permission missing: {action}. Without it {OPTIONAL[action]}. "
        "To add it, tick it in Manage API Credentials → API Roles."
    )
