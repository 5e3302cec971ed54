"""A chunk bounds the memory: no customer is too large for it."""

from hypothesis import given
from hypothesis import strategies as st

from services.metrics.formulas.chunks import Chunk, Owned, divide
from services.metrics.formulas.evidence import Subscription


def services(customer_id: int, *ids: int) -> list[Owned]:
    return [Owned(customer_id, "service", number) for number in ids]


OWNED = st.lists(
    st.builds(Owned, st.integers(1, 6), st.sampled_from(["service", "addon", "domain"]), st.integers(1, 8)),
    unique=True,
)


@given(OWNED, st.integers(1, 9))
def test_each_subscription_is_in_one_chunk(owned: list[Owned], limit: int) -> None:
    chunks = list(divide(owned, limit))

    subscriptions = [subscription for chunk in chunks for subscription in chunk.subscriptions]
    assert sorted(subscriptions) == sorted({item.subscription for item in owned})
    assert all(1 <= len(chunk.subscriptions) <= limit for chunk in chunks)


@given(OWNED, st.integers(1, 9))
def test_whole_customers_are_complete(owned: list[Owned], limit: int) -> None:
    for chunk in divide(owned, limit):
        of_whole = {item.subscription for item in owned if item.customer_id in chunk.whole}

        assert of_whole <= set(chunk.subscriptions)


@given(st.randoms(use_true_random=False), OWNED, st.integers(1, 9))
def test_chunks_depend_on_no_order(random: object, owned: list[Owned], limit: int) -> None:
    shuffled = list(owned)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert list(divide(shuffled, limit)) == list(divide(owned, limit))


def test_large_customer_has_chunks_of_its_own() -> None:
    owned = [*services(1, 1), *services(2, 2, 3, 4), *services(3, 5)]

    assert list(divide(owned, 2)) == [
        Chunk((Subscription("service", 2), Subscription("service", 3)), frozenset()),
        Chunk((Subscription("service", 4),), frozenset()),
        Chunk((Subscription("service", 1), Subscription("service", 5)), frozenset({1, 3})),
    ]


def test_addons_come_after_the_services() -> None:
    [chunk] = divide([Owned(1, "addon", 1), *services(1, 9)], 5)

    assert chunk.subscriptions == (Subscription("service", 9), Subscription("addon", 1))
