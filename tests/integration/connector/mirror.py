"""What WHMCS has now, beside what the connector has published of it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b, sha256
from typing import Any, Final, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.common.contracts import topics
from libs.common.contracts.instances import InstanceSettings
from services.connector.changes import fact
from services.connector.whmcs import answers
from services.connector.whmcs.entities import LISTS, ListAction
from services.connector.whmcs.translate import translate_row
from tests.integration.connector.conftest import ask

_ROWS_AT_ONCE: Final = 20_000
_ANY_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)
_DETAILS: Final = frozenset({"invoice_lines", "customer_detail"})


class Key(NamedTuple):
    """Names a row."""

    kind: str
    id: int


class Row(NamedTuple):
    """A row of WHMCS: the digest of the fact that it becomes, and its status if it has one."""

    digest: bytes
    status: str | None


class Mirror:
    """The rows of a WHMCS when it was last looked at (`present`), and the digests of the published facts (`published`).

    Details are left out: they are read between runs.
    """

    def __init__(self, whmcs: Mapping[str, str], bootstrap: str) -> None:
        self.present: dict[Key, Row] = {}
        self.published: dict[Key, bytes] = {}
        self._whmcs = dict(whmcs)
        self._translated: dict[Key, tuple[bytes, Row]] = {}
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
        self._places = [TopicPartition(t.name, n) for t in topics.BILLING for n in range(t.partitions)]

    async def __aenter__(self) -> "Mirror":
        await self._consumer.start()
        self._consumer.assign(self._places)
        await self._consumer.seek_to_beginning(*self._places)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def follow(self) -> None:
        """Read all facts that were published since the last time."""
        ends = await self._consumer.end_offsets(self._places)
        while any([await self._consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await self._consumer.getmany(timeout_ms=200)).values():
                for record in batch:
                    self._apply(record.key.decode(), record.value)

    def look(self) -> None:
        """Ask WHMCS for all rows."""
        self.present = {}
        for action in LISTS:
            offset, total = 0, 1
            while offset < total:
                page = {"limitstart": str(offset), "limitnum": str(_ROWS_AT_ONCE)} if action.is_paged else {}
                body = ask(self._whmcs, action.action, **action.parameters, **page)
                rows = answers.rows(body, action.plural, action.singular)
                for content in rows:
                    key = Key(action.kind, int(content[action.id_field]))
                    self.present[key] = self._row(action, key, content)
                offset, total = offset + len(rows), answers.total(body) or 0 if action.is_paged else 0

    def _apply(self, key: str, value: bytes | None) -> None:
        _, kind, number = key.split(":")
        if kind in _DETAILS:
            return
        if value is None:
            self.published.pop(Key(kind, int(number)), None)
        else:
            self.published[Key(kind, int(number))] = sha256(value).digest()

    def _row(self, action: ListAction, key: Key, content: dict[str, Any]) -> Row:
        """Return a row; it is translated only when WHMCS sends it differently."""
        raw = blake2b(orjson.dumps(content), digest_size=16).digest()
        before = self._translated.get(key)
        if before is None or before[0] != raw:
            body = translate_row(action, content, InstanceSettings()).content
            made = fact(action.kind, body, 0, _ANY_TIME, b"")
            assert made.fingerprint is not None
            before = self._translated[key] = raw, Row(made.fingerprint, body.get("status"))
        return before[1]
