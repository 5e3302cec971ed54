"""Under each fault of a WHMCS full of dirty rows a run ends as people are told; later the facts are exactly its rows."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from services.connector import caller
from services.connector.whmcs import client
from tests.integration.connector.conftest import TODAY, World
from tests.integration.connector.mirror import Mirror
from tests.simulator import simulate
from tools.whmcs_simulator.faults import KINDS

BAD, SERVER_ERROR = "bad_response", "server_error"
REJECTED, IP, FIREWALL = "credentials_rejected", "ip_not_allowed", "blocked_by_firewall"


class Strike(NamedTuple):
    """How a run ends under a fault: the code with which it, or the list of the struck action, failed."""

    code: str
    value: Any = None
    action: str | None = None


# With all of these at once an answer can still be read. They are applied in this order.
HARMLESS = {
    "bom": None,
    "php_warning": None,
    "notice_with_braces": None,
    "comment_behind": None,
    "compressed": "deflate, gzip",
    "numbered_rows": None,
    "lone_object": None,
    "odd_version": None,
    "latency_ms": 5,
    "drip": 1_000_000,
}
STRIKES = {
    # WHMCS refuses.
    "secret_rejected": Strike(REJECTED),
    "identifier_rejected": Strike(REJECTED),
    "password_rejected": Strike(REJECTED),
    "admin_disabled": Strike(REJECTED),
    "admin_required": Strike("admin_missing"),
    "invalid_ip": Strike(IP),
    "forbidden_ip": Strike(IP),
    "invalid_ip_as_text": Strike(IP),
    "ip_banned": Strike("ip_banned"),
    "ban_redirect": Strike("ip_banned"),
    "permission": Strike("permission_missing"),
    "access_denied": Strike("permission_missing"),
    "unknown_action": Strike("action_unsupported"),
    "missing_function": Strike("action_unsupported"),
    "empty_action": Strike(BAD),
    "business_error": Strike(BAD, "Something is wrong"),
    "error_in_status": Strike(BAD, "Something is wrong"),
    "error_without_message": Strike(BAD),
    # Something else answers.
    "basic_auth": Strike("password_required"),
    "firewall": Strike(FIREWALL),
    "mod_security": Strike(FIREWALL),
    "firewall_json": Strike(FIREWALL),
    "redirect": Strike("redirected"),
    "too_many_requests": Strike("rate_limited", 0),
    "too_many_requests_json": Strike("rate_limited", "²"),
    "maintenance": Strike("maintenance"),
    "status": Strike(SERVER_ERROR),
    "gateway_timeout": Strike(SERVER_ERROR),
    "output_emitted": Strike(SERVER_ERROR),
    "not_found": Strike(SERVER_ERROR),
    "not_json": Strike(SERVER_ERROR),
    "database_page": Strike(SERVER_ERROR),
    "login_redirect": Strike(SERVER_ERROR),
    # The answer is damaged or hostile. An action without pages is struck, so that no page is halved again and again.
    **{
        kind: Strike(BAD, action="GetProducts")
        for kind in (
            "empty",
            "truncated",
            "deep",
            "unknown_encoding",
            "reset",
            "cut",
            "gzip_bomb",
            "many_values",
            "duplicate_keys",
        )
    },
    "huge": Strike(BAD, 17_000_000, "GetProducts"),
    "hang": Strike("read_timeout", action="GetProducts"),
}
# Damage to rows and totals. The tests of reading have its ends; here it must only lose and invent nothing.
DAMAGED_LISTS = {"wrong_types", "bad_row", "growing_total", "no_rows", "huge_total", "repeated_page"}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Simulate a company of 12 customers."""
    state = tmp_path_factory.mktemp("simulator")
    with simulate(state, customers=12, years=1, options=["--today", TODAY]) as whmcs:
        yield whmcs.info


def end_of(event: dict[str, Any]) -> str:
    """Return "complete", the code with which a run failed, or that of the list which it could not read."""
    if event["type"] == "SyncFailed":
        return str(event["code"])
    codes = [kind["code"] for kind in event["skipped"] if kind["required"]]
    return ", ".join(codes) or str(event["outcome"])


def test_every_fault_of_the_simulator_has_its_end() -> None:
    assert STRIKES.keys() | HARMLESS.keys() | DAMAGED_LISTS == KINDS


async def test_run_ends_as_told_and_later_all_facts_are_right(
    world: World, kafka: str, simulator: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soil rows in every way, and change a price before each fault, so that each run has something to miss."""
    monkeypatch.setattr(caller, "_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(client, "_READ_SECONDS", 2.0)
    await world.add_instance()
    assert end_of(await world.sync()) == "complete"
    services = world.control("GET", "/pick?kind=service")["ids"]
    world.control("PUT", "/dirt", json={"on": "all"})
    ends: dict[str, str] = {}

    async def end_under(*faults: dict[str, Any]) -> str:
        number = len(ends)
        row = {"kind": "service", "id": services[number % len(services)]}
        world.control("POST", "/change", json=row | {"set": {"recurring": f"{number}.31"}})
        world.control("PUT", "/faults", json=faults)
        return end_of(await world.sync())

    ends["harmless"] = await end_under(*({"kind": kind, "value": value} for kind, value in HARMLESS.items()))
    for kind, strike in STRIKES.items():
        ends[kind] = await end_under({"kind": kind, "value": strike.value, "action": strike.action})
    for kind in sorted(DAMAGED_LISTS):
        await end_under({"kind": kind})
    world.control("PUT", "/dirt", json={"on": []})
    healed = await end_under()

    assert ends == {"harmless": "complete"} | {kind: strike.code for kind, strike in STRIKES.items()}
    assert healed == "complete"
    async with Mirror(simulator, kafka) as mirror:
        mirror.look()
        await mirror.follow()
    # Transactions are in no list that the mirror reads.
    published = {key: digest for key, digest in mirror.published.items() if key.kind != "transaction"}
    assert published == {key: row.digest for key, row in mirror.present.items()}
