"""Park records that can never be applied on the topic `dead-letter`, so that the records behind them are not blocked."""

import hashlib
import logging
from collections.abc import Sequence
from typing import Final

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from libs.common.contracts.envelope import MAX_RECORD_BYTES, Headers, Record
from libs.common.contracts.topics import DEAD_LETTER
from libs.common.kafka.publisher import Publisher
from libs.common.telemetry import dead_letters

log = logging.getLogger(__name__)

# Bytes that a dead letter keeps of the key and of all headers. The value gets the rest of MAX_RECORD_BYTES.
_MAX_PARKED_KEY_BYTES: Final = 16 * 1024
_MAX_PARKED_HEADER_BYTES: Final = 64 * 1024
_MAX_PARKED_VALUE_BYTES: Final = (
    MAX_RECORD_BYTES - _MAX_PARKED_KEY_BYTES - _MAX_PARKED_HEADER_BYTES - 8 * 1024
)


async def dead_letter(
    publisher: Publisher, record: ConsumerRecord, *, group: str, code: str, reason: str
) -> None:
    """Park one record with its key, value and headers; headers `dl_*` say why, and where it came from.

    A record that is too large is cut, because parking must not fail; then headers give size and hash of the whole value.
    """
    origin = {
        "dl_topic": record.topic,
        "dl_partition": str(record.partition),
        "dl_offset": str(record.offset),
        "dl_group": group,
        "dl_code": code,
        "dl_reason": reason[:500],
    }
    dead_letters.add(1, {"topic": record.topic, "code": code})
    log.error("Parked a record on dead-letter", extra=origin)
    key, value = record.key or b"", record.value
    headers = _kept_headers(record.headers)
    is_cut = len(key) > _MAX_PARKED_KEY_BYTES or len(headers) < len(record.headers)
    if value is not None and len(value) > _MAX_PARKED_VALUE_BYTES:
        is_cut, value = True, value[:_MAX_PARKED_VALUE_BYTES]
    if is_cut:
        whole = record.value or b""
        origin |= {
            "dl_truncated": "true",
            "dl_size": str(len(whole)),
            "dl_sha256": hashlib.sha256(whole).hexdigest(),
        }
    headers += [(name, text.encode("utf-8", "replace")) for name, text in origin.items()]
    await publisher.publish([Record(DEAD_LETTER.name, key[:_MAX_PARKED_KEY_BYTES], value, headers)])


def _kept_headers(original: Sequence[tuple[str, bytes | None]]) -> Headers:
    """Return as many of the first headers as fit. Headers of an earlier dead letter are omitted: a new one writes its own."""
    kept: Headers = []
    room = _MAX_PARKED_HEADER_BYTES
    for name, value in original:
        # 16: the lengths that Kafka stores beside each header.
        room -= len(name.encode("utf-8", "replace")) + len(value or b"") + 16
        if room < 0:
            break
        if not name.startswith("dl_"):
            kept.append((name, value or b""))
    return kept


def reason_of(error: Exception) -> str:
    """Return one line that says why a record was refused. It never contains values of the record."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return (str(error).splitlines() or [repr(error)])[0]
