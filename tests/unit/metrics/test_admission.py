"""Which facts of a batch are stored, given the instances that they name."""

from uuid import UUID

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from services.metrics.decoding import Decoded, Refused, decode
from services.metrics.intake import Admitted, admit
from tests.builders import FIRST_SEEN, INSTANCE, ORGANIZATION, consumed, fact, subscription, with_header

KEY = InstanceKey(ORGANIZATION, INSTANCE)
STRANGER = InstanceKey(UUID(int=9, version=4), INSTANCE)


def batch(key: InstanceKey = KEY) -> tuple[list[Decoded], list[Refused]]:
    """One fact of an instance, and one record without an epoch."""
    good = fact(Kind.SERVICE, subscription(1, 7), seq=1, organization_id=key.organization_id)
    bad = with_header(
        fact(Kind.SERVICE, subscription(2, 7), seq=2, organization_id=key.organization_id), "ce_epoch", None
    )
    return decode(consumed([good, bad]), FIRST_SEEN)


@pytest.mark.parametrize("states", [{KEY: "active"}, {KEY: "paused"}, {}])
def test_facts_of_an_active_or_unknown_instance_are_stored(states: dict[InstanceKey, str]) -> None:
    decoded, refused = batch()

    assert admit(decoded, refused, {KEY}, states) == Admitted(decoded, refused)


@pytest.mark.parametrize("state", ["deleting", "deleted"])
def test_facts_of_a_deleted_instance_are_discarded_and_unlisted(state: str) -> None:
    decoded, [refusal] = batch()

    admitted = admit(decoded, [refusal], {KEY}, {KEY: state})

    assert admitted == Admitted([], [refusal._replace(instance=None)])


def test_facts_of_another_organization_are_parked_and_unlisted() -> None:
    [item], [refusal] = batch(STRANGER)

    admitted = admit([item], [refusal], {STRANGER}, {KEY: "active"})

    assert admitted.decoded == []
    assert [parked.record for parked in admitted.refused] == [item.record, refusal.record]
    assert [parked.instance for parked in admitted.refused] == [None, None]
