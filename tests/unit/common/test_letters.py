"""Dead letters show no texts of people, and a billing fact is published again by its block."""

import orjson
import pytest

from libs.common.contracts.billing import Kind, fact_key
from libs.common.contracts.envelope import partition_of
from libs.common.contracts.received import MessageReader
from libs.common.contracts.topics import DEAD_LETTER, SYNC_COMMANDS
from libs.common.kafka.letter_commands import body_of
from libs.common.kafka.letters import Letter, republish
from tests.builders import FIRST_SEEN, INSTANCE, INSTANCE_KEY, ORGANIZATION


def letter(value: bytes | None = b"{}", key: bytes | None = None, **headers: str) -> Letter:
    key = key or fact_key(INSTANCE, Kind.SERVICE, 20_017).encode()
    headers = {"dl_topic": "billing.subscriptions", "ce_organization": str(ORGANIZATION)} | headers
    return Letter(partition_of(key, DEAD_LETTER.partitions), 5, FIRST_SEEN, key, value, headers)


def test_billing_letter_asks_for_the_block_of_its_row() -> None:
    record = republish(letter(), FIRST_SEEN)

    received = MessageReader(SYNC_COMMANDS).read(record.key, record.value, record.headers, FIRST_SEEN)
    assert received is not None
    assert received.instance == INSTANCE_KEY
    assert (received.body.kind, received.body.blocks) == ("service", (2,))


@pytest.mark.parametrize(
    "broken",
    [
        letter(dl_topic="sync.events"),
        letter(key=b"nonsense"),
        letter(key=b"\xff"),
        letter(ce_organization="nobody"),
    ],
)
def test_letter_that_names_no_row_is_refused(broken: Letter) -> None:
    with pytest.raises(ValueError, match=r"."):
        republish(broken, FIRST_SEEN)


def test_body_is_shown_without_its_texts() -> None:
    body = {"id": 7, "display_name": "Jane Roe", "lines": [{"description": "jane.example"}], "paid": None}

    shown = body_of(letter(orjson.dumps(body)))

    assert "Jane" not in shown
    assert "jane" not in shown
    assert orjson.loads(shown)["id"] == 7


@pytest.mark.parametrize("value", [None, b"", b"\xff\x00", b"{"])
def test_body_that_is_no_json_shows_only_its_size(value: bytes | None) -> None:
    assert body_of(letter(value)).startswith(("no body", f"{len(value or b'')} bytes"))
