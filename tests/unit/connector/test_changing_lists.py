"""Laws of reading a list that changes between the calls."""

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.connector.site import Site, ids_of, is_whole, pages_of

Changes = list[tuple[int, int, bool]]
# After which answer, at which index, and whether a row is added there or the one there is deleted.
changes = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 60), st.booleans()), max_size=12)


def change_after_answers(site: Site, changes: Changes, size: int) -> None:
    def change(answer: int) -> None:
        for moment, index, is_added in changes:
            if moment == answer and is_added:
                site.ids.insert(index, size + len(site.born) + 1)
                site.born.add(size + len(site.born) + 1)
            elif moment == answer and index < len(site.ids):
                del site.ids[index]

    site.after_answer = change


@given(
    size=st.integers(0, 60),
    page_size=st.integers(1, 25),
    largest_page=st.integers(2, 30),
    names_total=st.booleans(),
    changes=changes,
)
def test_whole_list_has_every_row_that_stays(
    size: int, page_size: int, largest_page: int, names_total: bool, changes: Changes
) -> None:
    site = Site(size, page_size=page_size, largest_page=largest_page)
    if not names_total:
        site.total = lambda: None
    change_after_answers(site, changes, size)

    pages = asyncio.run(pages_of(site))

    ids = set(ids_of(pages))
    assert ids <= set(range(1, size + 1)) | site.born
    if is_whole(pages):
        assert set(site.ids) - site.born <= ids


@given(
    size=st.integers(0, 60),
    page_size=st.integers(1, 25),
    moment=st.integers(1, 20),
    index=st.integers(0, 60),
)
def test_one_deletion_leaves_a_list_whole(size: int, page_size: int, moment: int, index: int) -> None:
    # After several deletions within a few calls a list may need its second reading.
    site = Site(size, page_size=page_size)
    change_after_answers(site, [(moment, index, False)], size)

    pages = asyncio.run(pages_of(site))

    assert is_whole(pages)
    assert set(site.ids) <= set(ids_of(pages))


@given(
    size=st.integers(0, 40),
    page_size=st.integers(1, 25),
    random=st.randoms(use_true_random=False),
    grows=st.booleans(),
)
def test_unstable_order_is_whole_only_with_every_row(
    size: int, page_size: int, random: Random, grows: bool
) -> None:
    site = Site(size, page_size=page_size)

    def shuffle(answer: int) -> None:
        if grows and answer % 3 == 0:
            site.ids.append(size + answer)
        random.shuffle(site.ids)

    site.after_answer = shuffle
    pages = asyncio.run(pages_of(site))

    if is_whole(pages):
        assert set(range(1, size + 1)) <= set(ids_of(pages))


@pytest.mark.parametrize("page_size", [3, 10, 25])
def test_unstable_order_with_deletions_hides_no_row(page_size: int) -> None:
    """Rows that were read and then deleted would count in place of those that were skipped."""
    whole = 0
    for seed in range(400):
        random = Random(seed)
        site = Site(random.randint(20, 60), page_size=page_size)
        deletions = {random.randint(1, 12) for _ in range(seed % 4)}

        def shuffle(
            answer: int, site: Site = site, random: Random = random, at: set[int] = deletions
        ) -> None:
            random.shuffle(site.ids)
            if answer in at:
                site.ids.pop()

        site.after_answer = shuffle
        pages = asyncio.run(pages_of(site))
        if is_whole(pages):
            whole += 1
            assert set(site.ids) <= set(ids_of(pages))
    assert whole
