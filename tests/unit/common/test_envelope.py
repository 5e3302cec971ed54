"""Headers and keys survive writing and reading."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.billing import Kind, fact_key, parse_fact_key
from libs.common.contracts.envelope import headers, partition_of, read_headers
from libs.common.contracts.facts import FactEnvelope
from libs.common.contracts.instances import InstanceKey

AT = datetime(2026, 11, 23, 6, 15, tzinfo=UTC)
ORGANIZATION = UUID("0f4f24a4-9a37-4c0e-8a6a-1d3a1f0f6f01")
VERSIONS = st.integers(0, 2**62)


def fact(
    instance: UUID, *, epoch: int = 1, seq: int = 1, fingerprint: bytes | None = b"\x01"
) -> dict[str, str]:
    envelope = FactEnvelope(
        instance=InstanceKey(ORGANIZATION, instance), kind=Kind.SERVICE, epoch=epoch, at=AT
    )
    return read_headers(envelope.record(88, b"{}", seq=seq, observed_at=AT, fingerprint=fingerprint).headers)


@given(st.uuids(), st.sampled_from(Kind), VERSIONS)
def test_fact_key_survives_writing_and_parsing(instance: UUID, kind: Kind, entity_id: int) -> None:
    assert parse_fact_key(fact_key(instance, kind, entity_id)) == (instance, kind, entity_id)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "a:b",
        f"{ORGANIZATION}:order:1",
        f"{ORGANIZATION}:service:x",
        f"{ORGANIZATION}:service:1:2",
        "a:service:1",
    ]
    + [f"{ORGANIZATION}:service:{number}" for number in ("07", "+7", " 7", "-7", "1_0", "\u0667", 2**63)]
    + [f"{ORGANIZATION}:service:7".upper(), f"{{{ORGANIZATION}}}:service:7"],
)
def test_key_that_is_not_ours_is_an_error(key: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_fact_key(key)


@given(st.uuids(), VERSIONS, VERSIONS)
@pytest.mark.rule("E1")
def test_facts_id_is_its_key_and_version(instance: UUID, epoch: int, seq: int) -> None:
    values = fact(instance, epoch=epoch, seq=seq)

    assert values["ce_id"] == f"{values['ce_subject']}@{epoch}.{seq}"
    assert (int(values["ce_epoch"]), int(values["ce_seq"])) == (epoch, seq)
    assert datetime.fromisoformat(values["ce_observedat"]) == AT


def test_tombstone_has_a_version_but_no_fingerprint() -> None:
    assert "ce_fingerprint" in fact(ORGANIZATION)
    assert "ce_fingerprint" not in fact(ORGANIZATION, fingerprint=None)


def test_traceparent_is_sent_only_inside_a_trace() -> None:
    def written(traceparent: str | None) -> dict[str, str]:
        return read_headers(
            headers(
                message_id="1",
                message_type="RunSync",
                source="scheduler",
                at=AT,
                subject="x",
                instance=InstanceKey(ORGANIZATION, ORGANIZATION),
                traceparent=traceparent,
            )
        )

    assert "traceparent" not in written(None)
    assert written("00-4bf9-00f0-01")["traceparent"] == "00-4bf9-00f0-01"


def test_headers_without_text_are_readable() -> None:
    assert read_headers([("a", b"\xff"), ("b", None)]) == {"a": "�", "b": ""}


@given(st.binary(max_size=80), st.integers(1, 100))
def test_partition_of_a_key_exists(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(key, partitions) == partition_of(key, partitions)
