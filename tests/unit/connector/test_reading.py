"""Reading a list yields each of its rows, whatever the site does with its pages."""

from collections.abc import Mapping
from contextlib import aclosing

import pytest

from libs.common.contracts.billing import Kind
from services.connector.caller import Answer, Caller
from services.connector.plan import Checkpoint
from services.connector.reading import look_up
from services.connector.whmcs.answers import Row, WhmcsError
from services.connector.whmcs.entities import CUSTOMER_DETAILS
from tests.unit.connector.site import AT, Site, currencies, ids_of, is_whole, pages_of


async def test_whole_list_is_read_in_order() -> None:
    pages = await pages_of(Site(95))

    assert ids_of(pages) == list(range(1, 96))
    assert {page.total for page in pages} == {95}
    assert is_whole(pages)


async def test_reading_continues_at_the_checkpoint() -> None:
    pages = await pages_of(Site(95), Checkpoint(Kind.CURRENCY, position=70, expected=95, rows=70, last_id=70))

    assert ids_of(pages) == list(range(71, 96))


async def test_empty_list_has_no_rows() -> None:
    pages = await pages_of(Site(0))

    assert ids_of(pages) == []


async def test_list_without_a_total_is_read_to_its_end() -> None:
    site = Site(95)
    site.total = lambda: None

    pages = await pages_of(site)

    assert ids_of(pages) == list(range(1, 96))
    assert is_whole(pages)


async def test_unpaged_list_is_read_with_one_request() -> None:
    site = Site(95)

    (page,) = await pages_of(site, action=currencies(is_paged=False))

    assert (page.total, site.answers) == (95, 1)
    assert ids_of([page]) == list(range(1, 96))
    assert is_whole([page])


@pytest.mark.parametrize("size", [91, 92, 95])
async def test_capped_pages_are_read_to_the_end(size: int) -> None:
    site = Site(size, page_size=50, largest_page=20)

    pages = await pages_of(site)

    assert ids_of(pages) == list(range(1, size + 1))
    assert site.answers <= 6
    assert site.politeness.size_of("GetClients") == 50
    assert is_whole(pages)


@pytest.mark.parametrize("size", [0, 1, 2, 9, 10, 11, 19, 20, 28, 29, 100])
async def test_list_of_any_length_is_whole(size: int) -> None:
    pages = await pages_of(Site(size))

    assert ids_of(pages) == list(range(1, size + 1))
    assert is_whole(pages)


@pytest.mark.parametrize("is_paged", [True, False])
async def test_total_without_rows_is_a_bad_response(is_paged: bool) -> None:
    site = Site(95, largest_page=0)

    with pytest.raises(WhmcsError) as caught:
        await pages_of(site, action=currencies(is_paged=is_paged))

    assert caught.value.code == "bad_response"


@pytest.mark.parametrize("failing", [{41}, {1}, {95}, {32}, {33}, {41, 42}, {3, 50, 90}])
async def test_row_that_fails_its_page_is_omitted(failing: set[int]) -> None:
    site = Site(95, page_size=32, failing=frozenset(failing))

    pages = await pages_of(site)

    assert set(ids_of(pages)) == set(range(1, 96)) - failing
    assert sum(page.failed for page in pages) == len(failing)
    assert is_whole(pages)


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


async def test_site_that_always_sends_its_first_page_is_not_whole() -> None:
    site = Site(95)
    site.honours_offset = False

    pages = await pages_of(site)

    assert ids_of(pages) == list(range(1, 11))
    assert not is_whole(pages)


@pytest.mark.parametrize("names_total", [True, False])
async def test_site_that_always_sends_the_whole_list_is_whole(names_total: bool) -> None:
    site = Site(95)
    site.honours_offset = site.honours_size = False
    if not names_total:
        site.total = lambda: None

    pages = await pages_of(site)

    assert ids_of(pages) == list(range(1, 96))
    assert is_whole(pages)


@pytest.mark.parametrize("size", [1_999, 2_000, 2_001, 4_500])
async def test_whole_list_in_one_answer_comes_in_parts(size: int) -> None:
    site = Site(size, largest_page=10_000)
    site.honours_offset = site.honours_size = False

    pages = await pages_of(site)

    assert ids_of(pages) == list(range(1, size + 1))
    assert max(len(page.rows) for page in pages) <= 2_000
    assert [page.last_id for page in pages if page.rows] == [page.end for page in pages if page.rows]
    assert is_whole(pages)


async def test_list_that_grows_for_ever_is_not_whole() -> None:
    site = Site(20)
    site.after_answer = lambda _: site.ids.extend(range(len(site.ids) + 1, len(site.ids) + 21))

    assert not is_whole(await pages_of(site))


@pytest.mark.parametrize("total", [90, 94, 100, 1_000])
async def test_wrong_total_hides_no_row(total: int) -> None:
    site = Site(95)
    site.total = lambda: total

    pages = await pages_of(site)

    assert ids_of(pages) == list(range(1, 96))
    assert is_whole(pages) == (total < 95)


@pytest.mark.parametrize("number", range(1, 12))
@pytest.mark.parametrize("offset", [0, 9, 50, 94])
async def test_wrong_page_hides_no_row(number: int, offset: int) -> None:
    site = Site(95)
    ask, calls = site.ask, 0

    async def send_another(action: str, parameters: Mapping[str, str | int], *, rows: int = 1) -> Answer:
        nonlocal calls
        calls += 1
        wrong = {**parameters, "limitstart": offset}
        return await ask(action, wrong if calls == number else parameters, rows=rows)

    site.ask = send_another  # type: ignore[method-assign]
    pages = await pages_of(site)

    assert is_whole(pages) == (set(ids_of(pages)) == set(range(1, 96)))


async def test_closed_generator_cancels_what_it_asked_ahead() -> None:
    site = Site(95)

    async with aclosing(site.pages()) as pages:
        await anext(pages)
        site.answers_left = 1
        await anext(pages)  # the total is known by now, so that more pages were asked for

    assert site.cancelled == 7


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
async def test_details_of_a_customer_are_one_row(body: Row) -> None:
    (row,) = await look_up(Clients(body), CUSTOMER_DETAILS, 7)

    assert (row.id, row.content["currency_code"]) == (7, "EUR")


async def test_details_of_a_deleted_customer_are_nothing() -> None:
    site = Clients(WhmcsError("not_found", "GetClientsDetails"))

    assert await look_up(site, CUSTOMER_DETAILS, 7) == []


async def test_details_that_may_not_be_read_are_a_failure() -> None:
    with pytest.raises(WhmcsError):
        await look_up(Clients(WhmcsError("permission_missing", "GetClientsDetails")), CUSTOMER_DETAILS, 7)
