"""A site that is synced every 15 minutes while its company lives, and a check of what is visible after each run."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from libs.common.clock import utc_now
from libs.common.contracts.commands import SyncMode
from services.connector.jobs import Jobs
from tests.integration.connector.conftest import World, ask, claim_run, run_command
from tests.integration.connector.mirror import Key, Mirror, Row

RUNS_OF_AN_HOUR: Final = 4
_LEASE_SECONDS: Final = 600.0
_PAGED: Final = frozenset({"customer", "invoice", "service", "domain", "cancellation_request"})
_OPEN: Final = frozenset({"unpaid", "draft", "payment_pending", "collections"})
_NUMBERS: Final = itertools.count(10)


@dataclass
class Site:
    """An instance that had a full run. Each further run comes 15 minutes after the one before."""

    world: World
    start: datetime = field(default_factory=utc_now)
    runs: int = 0
    calls: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        world = self.world
        self._jobs = Jobs(world.settings, world.engine, world.publisher, world.keyring, self.now)

    def now(self) -> datetime:
        """Return the time of the newest run."""
        return self.start + self.runs * timedelta(minutes=15)

    async def run(self, mode: SyncMode = SyncMode.INCREMENTAL) -> dict[str, Any]:
        """Do a run and return its last event."""
        self.runs += 1
        await self.world.command(run_command(mode=mode))
        run = await claim_run(self.world, _LEASE_SECONDS)
        assert run is not None
        self.world.control("DELETE", "/calls")
        await self._jobs.run(replace(run, started_at=self.now()))
        self.calls.append(self.world.control("GET", "/calls")["count"])
        return (await self.world.events("SyncSucceeded", "SyncFailed"))[-1]

    def change(self, kind: str, **what: Any) -> None:
        self.world.control("POST", "/change", json={"kind": kind, **what})

    def live(self, steps: int) -> None:
        """Let so many things happen of what happens in the company on a day."""
        self.world.control("POST", "/advance", json={"steps": steps})

    def service(self) -> dict[str, Any]:
        """Return a live service, another one each time."""
        items = self.world.control("GET", "/pick?kind=service&live=true&limit=200")["items"]
        item: dict[str, Any] = items[next(_NUMBERS) % len(items)]
        return item

    def invoice(self, status: str) -> int:
        rows = ask(self.world.simulator, "GetInvoices", status=status, limitnum="1")["invoices"]["invoice"]
        return int(rows[0]["id"])


def add_client(site: Site) -> None:
    site.change("client", add={"company_name": "New Ltd"})


def add_service(site: Site) -> None:
    site.change("service", add={"customer_id": site.service()["customer_id"]})


def add_domain(site: Site) -> None:
    name = f"added-{next(_NUMBERS)}.com"
    site.change("domain", add={"customer_id": site.service()["customer_id"], "name": name})


def add_addon(site: Site) -> None:
    service = site.service()
    site.change("addon", add={"customer_id": service["customer_id"], "service_id": service["id"]})


def request_end(site: Site) -> None:
    site.change("request", add={"service_id": site.service()["id"]})


def change_price(site: Site) -> None:
    site.change("service", id=site.service()["id"], set={"recurring": f"{next(_NUMBERS)}.31"})


def cancel_service(site: Site) -> None:
    site.change("service", id=site.service()["id"], set={"status": "Cancelled"})


def rename_client(site: Site) -> None:
    name = f"Renamed {next(_NUMBERS)}"
    site.change("client", id=site.service()["customer_id"], set={"company_name": name})


def rename_product(site: Site) -> None:
    site.change("product", id=2, set={"name": f"Product {next(_NUMBERS)}"})


def pay_invoice(site: Site) -> None:
    site.change("invoice", id=site.invoice("Unpaid"), set={"status": "Paid"})


def refund_invoice(site: Site) -> None:
    site.change("invoice", id=site.invoice("Paid"), set={"status": "Refunded"})


def cancel_invoice(site: Site) -> None:
    site.change("invoice", id=site.invoice("Unpaid"), set={"status": "Cancelled"})


def delete_service(site: Site) -> None:
    site.change("service", id=site.service()["id"], delete=True)


def delete_invoice(site: Site) -> None:
    site.change("invoice", id=site.invoice("Paid"), delete=True)


def delete_client(site: Site) -> None:
    site.change("client", id=site.service()["customer_id"], delete=True)


def delete_addon(site: Site) -> None:
    addons = site.world.control("GET", "/pick?kind=addon&limit=1")["ids"]
    site.change("addon", id=addons[0], delete=True)


def withdraw_request(site: Site) -> None:
    requests = ask(site.world.simulator, "GetCancelledPackages", limitnum="1")["packages"]["package"]
    site.change("request", id=int(requests[0]["id"]), delete=True)


# What people do by hand, besides what the company lives through by itself.
BY_HAND: Final[Sequence[Callable[[Site], None]]] = (
    add_client, add_service, delete_addon, pay_invoice, change_price, request_end, delete_invoice, add_domain,
    rename_client, refund_invoice, add_addon, cancel_service, withdraw_request, cancel_invoice, delete_service,
    rename_product, delete_client,
)  # fmt: skip


class Waiting(NamedTuple):
    """A change that is not visible yet: the row since then (None: deleted), the first run after it, and whether that must show it."""

    row: Row | None
    since: int
    is_due_at_once: bool


@dataclass
class Day:
    """Incremental runs over a company that lives. `late` are the changes that came later than promised."""

    site: Site
    mirror: Mirror
    waiting: dict[Key, Waiting] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)

    async def live_and_run(self, by_hand: Sequence[Callable[[Site], None]] = (), steps: int = 0) -> str:
        """Let the company live, do a run, and return a line about it."""
        for change in by_hand:
            change(self.site)
        if steps:
            self.site.live(steps)
        if by_hand or steps:
            self._note_changes()
        began = time.perf_counter()
        done = await self.site.run()
        seconds = time.perf_counter() - began
        assert (done["mode"], done["outcome"]) == ("incremental", "complete"), done
        await self.mirror.follow()
        seen = self._note_visible()
        return (
            f"run {self.site.runs:3}: {self.site.calls[-1]:4} calls, {seconds:5.1f} s, seen at once {seen[1]:3},"
            f" in 2 to 4 runs {seen.total() - seen[1]:3}, not yet {len(self.waiting):3}"
        )

    def _note_changes(self) -> None:
        """Look at all rows of WHMCS, and note what the next run has to show."""
        before = self.mirror.present
        self.mirror.look()
        for key in before.keys() | self.mirror.present.keys():
            row = self.mirror.present.get(key)
            if row != before.get(key):
                self.waiting[key] = Waiting(
                    row, self.site.runs + 1, _is_due_at_once(key, before.get(key), row)
                )

    def _note_visible(self) -> Counter[int]:
        """Return how many changes became visible, by the number of runs that it took."""
        seen: Counter[int] = Counter()
        for key, change in list(self.waiting.items()):
            runs = self.site.runs - change.since + 1
            is_visible = self.mirror.published.get(key) == (change.row and change.row.digest)
            if is_visible:
                seen[runs] += 1
                del self.waiting[key]
            if runs == (1 if change.is_due_at_once else RUNS_OF_AN_HOUR) and not is_visible:
                self.late.append(
                    f"{key.kind} {key.id} changed before run {change.since}, is invisible after {runs}"
                )
        return seen


def _is_due_at_once(key: Key, before: Row | None, row: Row | None) -> bool:
    """Return whether the next run must show a change: new rows of paged lists, all of open invoices, and other statuses of invoices.

    The others are changes within a row, deleted rows and lists that are not paged. Only a rotation or a whole read sees them.
    """
    if row is None:
        return False
    if before is None:
        return key.kind in _PAGED
    return key.kind == "invoice" and (row.status != before.status or row.status in _OPEN)
