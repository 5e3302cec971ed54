"""A part of a list is read with the calls that it needs, and a filter that does not work is noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.connector.parts import TO_THE_END, FilterIgnoredError, ids_of, read_part
from services.connector.scans import Stretch
from tests.unit.connector.site import Site, currencies


async def ids_in(site: Site, stretch: Stretch) -> set[int]:
    return {id_ async for page in read_part(site, currencies(), stretch) for id_ in ids_of(page)}


@given(st.integers(0, 95), st.integers(0, 95))
async def test_part_has_all_rows_of_its_stretch(start: int, rows: int) -> None:
    ids = await ids_in(Site(95), Stretch(start, rows))

    assert ids >= set(range(1, 96)[start : start + rows])


async def test_part_takes_few_calls() -> None:
    site = Site(95)

    assert len(await ids_in(site, Stretch(94, TO_THE_END))) == 2
    assert site.answers == 1


async def test_part_without_rows_takes_no_call() -> None:
    site = Site(95)

    assert await ids_in(site, Stretch(30, 0)) == set()
    assert site.answers == 0


async def test_row_outside_the_filter_is_noticed() -> None:
    pages = read_part(
        Site(95), currencies(), Stretch(0, 10), {"code": "EUR"}, only=lambda row: row["id"] == "1"
    )

    with pytest.raises(FilterIgnoredError):
        await anext(pages)


async def test_filter_is_sent_beside_the_order() -> None:
    sent = []

    class Listener(Site):
        async def ask(self, action, parameters, *, rows=1):  # type: ignore[no-untyped-def]
            sent.append(parameters)
            return await super().ask(action, parameters, rows=rows)

    async for _ in read_part(Listener(5), currencies(), Stretch(0, 5), {"code": "EUR"}):
        pass

    assert {parameters["code"] for parameters in sent} == {"EUR"}
