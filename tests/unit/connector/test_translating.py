"""Rows that did not change are not translated, and unreadable ones are listed."""

from datetime import UTC, datetime
from typing import Any

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceSettings
from libs.common.contracts.sync import UnreadableRow
from services.connector.changes import Stored
from services.connector.translating import RawRow, Translation, Translator, newest_rows, raw_row
from services.connector.whmcs.entities import ACTIONS

AT = datetime(2026, 11, 24, tzinfo=UTC)


def raw(number: int | None, seq: int = 1, **values: Any) -> RawRow:
    row = {"id": number, "firstname": "Ann", "lastname": "Lee", "companyname": "", "status": "Active"}
    return raw_row(number, row | values, seq, AT)


def translated(
    *rows: RawRow, stored: dict[int, Stored] | None = None, store_names: bool = True
) -> Translation:
    translation = Translation()
    translator = Translator(ACTIONS[Kind.CUSTOMER], InstanceSettings(store_names=store_names))
    translator.translate(rows, stored or {}, translation)
    return translation


def test_unchanged_row_is_not_translated() -> None:
    (before,) = translated(raw(7)).facts
    stored = {7: Stored(before.fingerprint, before.raw_hash)}

    assert translated(raw(7), stored=stored).facts == []
    assert [fact.id for fact in translated(raw(7, status="Closed"), stored=stored).facts] == [7]


def test_row_with_a_cleared_fingerprint_is_translated() -> None:
    (before,) = translated(raw(7)).facts

    assert translated(raw(7), stored={7: Stored(None, before.raw_hash)}).facts == [before]


def test_row_is_translated_again_with_other_settings() -> None:
    (before,) = translated(raw(7)).facts
    stored = {7: Stored(before.fingerprint, before.raw_hash)}

    (after,) = translated(raw(7), stored=stored, store_names=False).facts

    assert after.fingerprint != before.fingerprint


def test_unreadable_rows_are_listed_beside_the_good_ones() -> None:
    translation = translated(raw(7, id="x"), raw(None), raw(8))

    assert [fact.id for fact in translation.facts] == [8]
    assert [row.id for row in translation.unreadable] == [7, None]
    assert translation.unreadable[1] == UnreadableRow(id=None, reason="its id is no number")


def test_row_with_another_id_than_asked_for_is_unreadable() -> None:
    assert [row.id for row in translated(raw(7, id=8)).unreadable] == [7]


def test_newest_of_repeated_rows_counts() -> None:
    rows = [raw(2), raw(None), raw(1, seq=3), raw(1, seq=2)]

    assert newest_rows(rows) == [rows[2], rows[0], rows[1]]
