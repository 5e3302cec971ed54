"""A chunk bounds the memory: no customer is too large for it."""

from hypothesis import given
from hypothesis import strategies as st

from services.metrics.formulas.chunks import Chunk, Group, Owned, divide, groups_of
from services.metrics.formulas.evidence import Subscription


def services(customer_id: int, *ids: int) -> list[Owned]:
    return [Owned(customer_id, "service", number) for number in ids]


def divided(owned: list[Owned], limit: int) -> list[Chunk]:
    return list(divide({item.customer_id for item in owned}, owned, limit))


OWNED = st.lists(
    st.builds(Owned, st.integers(1, 6), st.sampled_from(["service", "addon", "domain"]), st.integers(1, 8)),
    unique=True,
)


@given(OWNED, st.integers(1, 9))
def test_each_subscription_is_in_one_chunk(owned: list[Owned], limit: int) -> None:
    chunks = divided(owned, limit)

    subscriptions = [subscription for chunk in chunks for subscription in chunk.subscriptions]
    assert sorted(subscriptions) == sorted({item.subscription for item in owned})
    assert all(1 <= len(chunk.subscriptions) <= limit for chunk in chunks)


@given(OWNED, st.integers(1, 9))
def test_whole_customers_are_complete(owned: list[Owned], limit: int) -> None:
    for chunk in divided(owned, limit):
        of_whole = {item.subscription for item in owned if item.customer_id in chunk.whole}

        assert of_whole <= set(chunk.subscriptions)


@given(st.randoms(use_true_random=False), OWNED, st.integers(1, 9))
def test_chunks_depend_on_no_order(random: object, owned: list[Owned], limit: int) -> None:
    shuffled = list(owned)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert (divided(shuffled, limit)) == (divided(owned, limit))


def test_large_customer_has_chunks_of_its_own() -> None:
    owned = [*services(1, 1), *services(2, 2, 3, 4), *services(3, 5)]

    assert (divided(owned, 2)) == [
        Chunk((Subscription("service", 2), Subscription("service", 3)), is_part=True),
        Chunk((Subscription("service", 4),), is_part=True),
        Chunk((Subscription("service", 1), Subscription("service", 5)), frozenset({1, 3})),
    ]


def test_addons_come_after_the_services() -> None:
    [chunk] = divided([Owned(1, "addon", 1), *services(1, 9)], 5)

    assert chunk.subscriptions == (Subscription("service", 9), Subscription("addon", 1))


def test_customer_without_subscriptions_is_in_a_chunk() -> None:
    assert list(divide([4, 3], services(3, 1), 5)) == [
        Chunk((Subscription("service", 1),), frozenset({3, 4})),
    ]


def test_customers_of_one_subscription_are_a_group() -> None:
    a, b, c = (Subscription("service", number) for number in range(3))

    groups = groups_of({a: {1}, b: {1, 2}, c: {3}}, [1, 4])

    assert sorted(groups, key=lambda group: min(group.customers)) == [
        Group(frozenset({1, 2}), (a, b)),
        Group(frozenset({3}), (c,)),
        Group(frozenset({4}), ()),
    ]
