"""Turns the rows of one list or look-up into facts, and tells which rows need no translation. Pure."""

import pkgutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

import orjson

from libs.common.contracts import sync
from libs.common.contracts.instances import InstanceSettings
from services.connector import whmcs
from services.connector.changes import Fact, Stored, UnreadableRow, fact
from services.connector.whmcs.answers import Row
from services.connector.whmcs.entities import ListAction, LookUp
from services.connector.whmcs.translate import translate_row

# The raw hash of a row that has a warning. It equals no hash, so such a row is translated, and its warning counted, in each run.
_HAS_WARNING: Final = b""


class RawRow(NamedTuple):
    """A row as WHMCS sent it, as JSON. `id` is None when it cannot be read.

    `seq` and `observed_at`: see Fact. `hold`: see WhmcsAnswer.
    """

    id: int | None
    text: bytes
    seq: int
    observed_at: datetime
    hold: object = None

    @property
    def content(self) -> Row:
        """Return the decoded row."""
        row: Row = orjson.loads(self.text)
        return row


def raw_row(id: int | None, content: Row, seq: int, observed_at: datetime, hold: object = None) -> RawRow:
    """Return a row that waits to be published as text.

    Rows of many pages wait at once. Their texts need a fifth of the memory of their values, and to touch that memory costs more than to
    write and to decode a text.
    """
    # Copy the bytes: the object that orjson returns keeps its whole write buffer.
    return RawRow(id, bytes(memoryview(orjson.dumps(content))), seq, observed_at, hold)


@dataclass(slots=True)
class Translation:
    """The facts that rows became, the rows that could not be read, and how often each descriptive field could not be read."""

    facts: list[Fact] = field(default_factory=list)
    unreadable: list[sync.UnreadableRow] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)


class Translator:
    """Translates the rows of one action for one instance."""

    def __init__(self, action: ListAction | LookUp, settings: InstanceSettings) -> None:
        self.kind, self.action = action.kind, action
        self._settings = settings
        # A row that did not change is translated again when this text has changed.
        text = f"{action.kind}:{settings.store_names}".encode()
        self._hasher = blake2b(digest_size=16, key=blake2b(_version() + text, digest_size=32).digest())

    def translate(self, rows: Iterable[RawRow], stored: Mapping[int, Stored], into: Translation) -> None:
        """Add what rows become to a translation, except for those that are stored exactly as they are."""
        for row in rows:
            try:
                made = self._fact(row, stored, into.warnings)
            except UnreadableRow as error:
                into.unreadable.append(sync.UnreadableRow(id=row.id, reason=error.reason))
            else:
                if made is not None:
                    into.facts.append(made)

    def _fact(self, row: RawRow, stored: Mapping[int, Stored], warnings: Counter[str]) -> Fact | None:
        if row.id is None:
            raise UnreadableRow(None, "its id is no number")
        hasher = self._hasher.copy()  # cheaper than one with the key for each row
        hasher.update(row.text)
        raw_hash = hasher.digest()
        before = stored.get(row.id)
        if before is not None and before.raw_hash == raw_hash and before.fingerprint is not None:
            return None
        content, fields = translate_row(self.action, row.content, self._settings)
        made = fact(self.kind, content, row.seq, row.observed_at, _HAS_WARNING if fields else raw_hash)
        if made.id != row.id:
            raise UnreadableRow(row.id, "a row with another id came")
        if fields:  # hardly any row has a warning, and an update with nothing takes as long as a hash
            warnings.update(fields)
        return made


def newest_rows(rows: Iterable[RawRow]) -> list[RawRow]:
    """Return the newest row of each id, in the order of ids, then the rows without an id. Pages of a list that changes may repeat a row."""
    by_id: dict[int, RawRow] = {}
    without_id: list[RawRow] = []
    for row in rows:
        if row.id is None:
            without_id.append(row)
        elif row.id not in by_id or by_id[row.id].seq <= row.seq:
            by_id[row.id] = row
    return [*map(by_id.__getitem__, sorted(by_id)), *without_id]


@lru_cache(1)
def _version() -> bytes:
    """Return a digest of the code that translates rows. A release that changes it lets all rows be translated again."""
    digest = blake2b()
    modules = sorted(module.name for module in pkgutil.iter_modules(whmcs.__path__))
    for package, name in [(whmcs.__name__, name) for name in modules] + [(__package__, "changes")]:
        digest.update(pkgutil.get_data(package, f"{name}.py") or b"")
    digest.update(pkgutil.get_data("libs.common.contracts", "billing.py") or b"")
    return digest.digest()
