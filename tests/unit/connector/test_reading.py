"""Reading a list yields each of its rows, whatever the site does with its pages."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceSettings
from services.connector.caller import Answer, Caller
from services.connector.plan import Checkpoint
from services.connector.politeness import Politeness
from services.connector.reading import ListReader, Page, look_up_customer
from services.connector.whmcs.answers import Row, WhmcsError
from services.connector.whmcs.entities import ListAction
from services.connector.whmcs.shapes import Translated

AT = datetime(2026, 11, 24, tzinfo=UTC)
BEGINNING = Checkpoint(Kind.CURRENCY)


def currencies(*, is_paged: bool = True) -> ListAction:
    return ListAction(
        Kind.CURRENCY,
        "GetCurrencies",
        "currencies",
        "currency",
        lambda row, _: Translated({"id": row["id"], "code": row["code"], "rate": "1", "is_default": False}),
        is_paged=is_paged,
    )


class Site(Caller):
    """A WHMCS whose one list has the ids from 1 to `size`."""

    def __init__(
        self,
        size: int,
        *,
        page_size: int = 10,
        largest_page: int = 1_000,
        failing: frozenset[int] = frozenset(),
        unreadable: frozenset[int] = frozenset(),
    ) -> None:
        self.politeness = Politeness(page_size=page_size)
        self.ids = list(range(1, size + 1))
        self.largest_page, self.failing, self.unreadable = largest_page, failing, unreadable
        self.answers = self.cancelled = 0
        self.answers_left = 1_000
        self.after_answer: Callable[[int], None] = lambda _: None
        self.names_total = self.honours_offset = True

    async def ask(self, action: str, parameters: Mapping[str, str | int], *, rows: int = 1) -> Answer:
        await self._wait()
        offset = int(parameters.get("limitstart", 0)) if self.honours_offset else 0
        ids = self.ids[offset:][: min(int(parameters.get("limitnum", 1_000)), self.largest_page)]
        if not self.failing.isdisjoint(ids):
            raise WhmcsError("server_error", action, "500", is_about_rows=True)
        body: Row = {"currencies": {"currency": [self.row(number) for number in ids]}}
        if self.names_total:
            body["totalresults"] = len(self.ids)
        self.answers += 1
        self.after_answer(self.answers)
        return Answer(body, self.answers, AT)

    async def _wait(self) -> None:
        self.answers_left -= 1
        try:
            await asyncio.sleep(0 if self.answers_left >= 0 else 60)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def row(self, number: int) -> Row:
        return {"id": number} if number in self.unreadable else {"id": number, "code": f"C{number}"}

    def pages(
        self, start: Checkpoint = BEGINNING, *, action: ListAction | None = None
    ) -> AsyncGenerator[Page]:
        return ListReader(self, action or currencies(), InstanceSettings()).pages(start)


async def pages_of(site: Site, start: Checkpoint = BEGINNING, **options: ListAction) -> list[Page]:
    async with aclosing(site.pages(start, **options)) as pages:
        return [page async for page in pages]


def ids_of(pages: list[Page]) -> list[int]:
    return [fact.id for page in pages for fact in page.facts]


async def test_whole_list_is_read_in_order() -> None:
    pages = await pages_of(Site(95))

    assert ids_of(pages) == list(range(1, 96))
    assert {page.total for page in pages} == {95}
    assert sum(page.rows for page in pages) == 95


async def test_reading_continues_at_the_checkpoint() -> None:
    pages = await pages_of(Site(95), Checkpoint(Kind.CURRENCY, position=70, expected=95, rows=70))

    assert ids_of(pages) == list(range(71, 96))


async def test_empty_list_has_no_rows() -> None:
    pages = await pages_of(Site(0))

    assert ids_of(pages) == []


async def test_list_without_a_total_is_read_to_its_end() -> None:
    site = Site(95)
    site.names_total = False

    assert ids_of(await pages_of(site)) == list(range(1, 96))


async def test_unpaged_list_is_read_with_one_request() -> None:
    site = Site(95, unreadable=frozenset({7}))

    (page,) = await pages_of(site, action=currencies(is_paged=False))

    assert (page.rows, page.bad, page.total, site.answers) == (95, 1, 95, 1)
    assert ids_of([page]) == [number for number in range(1, 96) if number != 7]


async def test_capped_pages_are_completed_and_the_cap_is_learned() -> None:
    site = Site(95, page_size=50, largest_page=20)

    assert ids_of(await pages_of(site)) == list(range(1, 96))
    assert site.politeness.page_size == 20


@pytest.mark.parametrize("is_paged", [True, False])
async def test_total_without_rows_is_a_bad_response(is_paged: bool) -> None:
    site = Site(95, largest_page=0)

    with pytest.raises(WhmcsError) as caught:
        await pages_of(site, action=currencies(is_paged=is_paged))

    assert caught.value.code == "bad_response"


async def test_row_that_fails_its_page_is_omitted() -> None:
    pages = await pages_of(Site(95, page_size=32, failing=frozenset({41})))

    assert ids_of(pages) == [number for number in range(1, 96) if number != 41]
    assert (sum(page.rows for page in pages), sum(page.bad for page in pages)) == (95, 1)


async def test_row_that_cannot_be_translated_is_omitted() -> None:
    pages = await pages_of(Site(95, unreadable=frozenset({41})))

    assert ids_of(pages) == [number for number in range(1, 96) if number != 41]
    assert sum(page.bad for page in pages) == 1


async def test_many_failing_rows_in_a_row_fail_the_action() -> None:
    site = Site(95, page_size=32, failing=frozenset(range(33, 65)))

    with pytest.raises(WhmcsError) as caught:
        await pages_of(site)

    assert caught.value.code == "server_error"


async def test_other_failures_are_raised_at_once() -> None:
    site = Site(95)

    async def refuse(action: str, parameters: Mapping[str, str | int], *, rows: int = 1) -> Answer:
        raise WhmcsError("permission_missing", action)

    site.ask = refuse  # type: ignore[method-assign]
    with pytest.raises(WhmcsError) as caught:
        await pages_of(site)

    assert caught.value.code == "permission_missing"


async def test_site_that_ignores_the_offset_is_noticed() -> None:
    site = Site(95)
    site.honours_offset = False

    with pytest.raises(WhmcsError) as caught:
        await pages_of(site)

    assert caught.value.code == "inconsistent_pagination"


async def test_list_that_grows_for_ever_is_noticed() -> None:
    site = Site(20)
    site.after_answer = lambda _: site.ids.extend(range(len(site.ids) + 1, len(site.ids) + 21))

    with pytest.raises(WhmcsError) as caught:
        await pages_of(site)

    assert caught.value.code == "inconsistent_pagination"


async def test_closed_generator_cancels_what_it_asked_ahead() -> None:
    site = Site(95)

    async with aclosing(site.pages()) as pages:
        await anext(pages)
        site.answers_left = 1
        await anext(pages)  # the total is known by now, so that more pages were asked for

    assert site.cancelled == 7


@given(
    size=st.integers(0, 60),
    page_size=st.integers(1, 25),
    largest_page=st.integers(1, 30),
    deletions=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 60)), max_size=12),
)
def test_every_row_that_stays_is_yielded(
    size: int, page_size: int, largest_page: int, deletions: list[tuple[int, int]]
) -> None:
    """`deletions`: after which answer the row at which index is deleted."""
    site = Site(size, page_size=page_size, largest_page=largest_page)

    def delete(answer: int) -> None:
        for moment, index in deletions:
            if moment == answer and index < len(site.ids):
                del site.ids[index]

    site.after_answer = delete
    pages = asyncio.run(pages_of(site))

    assert set(site.ids) <= set(ids_of(pages)) <= set(range(1, size + 1))


class Clients(Caller):
    """A WHMCS that answers GetClientsDetails with the same body each time, or fails."""

    def __init__(self, answer: Row | WhmcsError) -> None:
        self.answer = answer

    async def ask(self, action: str, parameters: Mapping[str, str | int], *, rows: int = 1) -> Answer:
        if isinstance(self.answer, WhmcsError):
            raise self.answer
        return Answer(self.answer, 1, AT)


@pytest.mark.parametrize(
    "body",
    [{"client": {"id": 7, "currency_code": "EUR"}}, {"id": "7", "currency_code": "EUR", "result": "success"}],
    ids=["nested", "flat"],
)
async def test_details_of_a_customer_are_one_fact(body: Row) -> None:
    (fact,) = await look_up_customer(Clients(body), 7)

    assert (fact.kind, fact.id) == (Kind.CUSTOMER_DETAIL, 7)


async def test_details_of_a_deleted_customer_are_nothing() -> None:
    assert await look_up_customer(Clients(WhmcsError("not_found", "GetClientsDetails")), 7) == []


async def test_details_that_may_not_be_read_are_a_failure() -> None:
    with pytest.raises(WhmcsError):
        await look_up_customer(Clients(WhmcsError("permission_missing", "GetClientsDetails")), 7)
