"""The coverage of an instance: its newest applied run, and the days that are known of each kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, NamedTuple

from libs.common.contracts.definitions import STANDARD, Definitions
from libs.common.contracts.instances import InstanceKey
from services.metrics.formulas.coverage import Coverage, Days, KindCoverage, Skipped, days_of
from services.metrics.repository.driver import Connection, column_types, columns, unnest
from services.metrics.repository.runs import APPLIED_EPOCH


@dataclass(frozen=True, slots=True)
class State:
    """The coverage of an instance and the time zone of its segments; both None before its first run.

    `has_movements`: all customers were computed with their movements, which releases before migration 0012 do not write. `days` are the
    known days of each kind. `prices_include_tax` is the setting by which all customers were computed, None if that is not stored, and
    `definitions` are those by which they were. `definition` counts the changes of the program's definitions that are applied,
    `wanted_definition` all of them.
    """

    coverage: Coverage | None
    time_zone: str | None
    has_movements: bool = False
    days: Mapping[str, Days] = field(default_factory=dict)
    prices_include_tax: bool | None = None
    definition: int = 0
    wanted_definition: int = 0
    definitions: Definitions = STANDARD

    def is_redefined(self, time_zone: str, definitions: Definitions, *, prices_include_tax: bool) -> bool:
        """Return whether figures were computed by other definitions than those that are wanted, with these settings."""
        return self.coverage is not None and (
            self.time_zone != time_zone
            or self.prices_include_tax not in (None, prices_include_tax)
            or self.definition != self.wanted_definition
            or self.definitions != definitions
        )


class ComputedBy(NamedTuple):
    """By what figures are computed, besides evidence: settings, how many changes of definitions are applied, and the definitions."""

    time_zone: str
    prices_include_tax: bool
    definition: int
    definitions: Definitions = STANDARD


class _KindRow(NamedTuple):
    """A row of metrics.coverage without the columns of the instance."""

    kind: str
    first_at: datetime | None
    read_at: datetime | None
    last_at: datetime | None
    epoch: int | None
    action: str | None
    code: str | None
    is_required: bool | None
    skipped_at: datetime | None
    first_on: date | None
    last_on: date | None
    closed_before: date | None
    grace_days: int


_KIND: Final = column_types(_KindRow)

_FRESHNESS: Final = f"""
SELECT f.run_id, f.as_of, f.last_at, f.time_zone, f.has_movements, f.prices_include_tax, f.definition, f.wanted_definition,
    f.definitions, {APPLIED_EPOCH} AS epoch
FROM metrics.freshness f WHERE f.organization_id = $1 AND f.instance_id = $2"""

_KINDS: Final = f"""
SELECT {", ".join(_KIND)} FROM metrics.coverage WHERE organization_id = $1 AND instance_id = $2"""

_STORE_FRESHNESS: Final = """
INSERT INTO metrics.freshness AS f (organization_id, instance_id, run_id, as_of, last_at, epoch, time_zone, prices_include_tax,
    definition, definitions, has_movements)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, true)
ON CONFLICT (organization_id, instance_id) DO UPDATE SET run_id = excluded.run_id, as_of = excluded.as_of,
    last_at = excluded.last_at, epoch = excluded.epoch, time_zone = excluded.time_zone,
    prices_include_tax = excluded.prices_include_tax, definition = excluded.definition, definitions = excluded.definitions,
    has_movements = true"""

_REDEFINE: Final = """
UPDATE metrics.freshness SET wanted_definition = wanted_definition + 1 WHERE organization_id = $1 AND instance_id = $2"""

_STORE_KINDS: Final = f"""
INSERT INTO metrics.coverage (organization_id, instance_id, {", ".join(_KIND)})
SELECT $1, $2, t.* FROM {unnest(_KIND, 3)}
ON CONFLICT (organization_id, instance_id, kind) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _KIND)}"""


async def read(connection: Connection, key: InstanceKey) -> State:
    """Return the applied coverage of an instance."""
    freshness = await connection.fetchrow(_FRESHNESS, *key)
    if freshness is None:
        return State(None, None)
    rows = [_KindRow(**row) for row in await connection.fetch(_KINDS, *key)]
    coverage = Coverage(
        run_id=freshness["run_id"],
        as_of=freshness["as_of"],
        last_at=freshness["last_at"],
        epoch=freshness["epoch"],
        kinds={row.kind: _kind_coverage(row, freshness["epoch"], freshness["last_at"]) for row in rows},
    )
    return State(
        coverage,
        freshness["time_zone"],
        freshness["has_movements"],
        {
            row.kind: Days(row.first_on, row.last_on, row.closed_before, row.grace_days)
            for row in rows
            if row.first_on and row.last_on and row.closed_before
        },
        freshness["prices_include_tax"],
        freshness["definition"],
        freshness["wanted_definition"],
        Definitions.model_validate(freshness["definitions"]),
    )


async def redefine(connection: Connection, key: InstanceKey) -> None:
    """Have all customers of an instance computed again, because a definition changed: changes of closed days get that cause."""
    await connection.execute(_REDEFINE, *key)


def _kind_coverage(row: _KindRow, applied_epoch: int, applied_at: datetime) -> KindCoverage:
    skipped = None
    if row.action is not None and row.code is not None:
        skipped = Skipped(row.action, row.code, bool(row.is_required))
    epoch, last_at = row.epoch, row.last_at
    if row.read_at is not None:
        # Before migration 0003 no epoch was stored for a kind: all its facts count. Before 0008 every run read all kinds that it could.
        epoch = applied_epoch if epoch is None else epoch
        last_at = last_at or (applied_at if skipped is None else row.read_at)
    return KindCoverage(row.first_at, row.read_at, last_at, epoch, skipped, row.skipped_at)


async def store(
    connection: Connection,
    key: InstanceKey,
    coverage: Coverage,
    computed_by: ComputedBy,
    open_from: Mapping[str, datetime],
    history_from: date | None = None,
) -> None:
    """Store the applied coverage and by what its figures were computed, with its days in that time zone.

    `open_from` has, by kind, the times from which unreadable rows keep days open. `history_from` is the first day of published history.
    """
    await connection.execute(
        _STORE_FRESHNESS,
        *key,
        coverage.run_id,
        coverage.as_of,
        coverage.last_at,
        coverage.epoch,
        computed_by.time_zone,
        computed_by.prices_include_tax,
        computed_by.definition,
        computed_by.definitions.model_dump_json(),
    )
    zone, definitions = computed_by.time_zone, computed_by.definitions
    rows = [
        _row(
            coverage.kinds[kind],
            kind,
            days_of(coverage, kind, zone, open_from.get(kind), history_from),
            definitions.grace_days(kind),
        )
        for kind in sorted(coverage.kinds)
    ]
    await connection.execute(_STORE_KINDS, *key, *columns(_KIND, rows))


def _row(state: KindCoverage, kind: str, days: Days | None, grace_days: int) -> _KindRow:
    skipped = state.skipped
    return _KindRow(
        kind=kind,
        first_at=state.first_at,
        read_at=state.read_at,
        last_at=state.last_at,
        epoch=state.epoch,
        action=None if skipped is None else skipped.action,
        code=None if skipped is None else skipped.code,
        is_required=None if skipped is None else skipped.is_required,
        skipped_at=state.skipped_at,
        first_on=None if days is None else days.first_on,
        last_on=None if days is None else days.last_on,
        closed_before=None if days is None else days.closed_before,
        grace_days=grace_days,
    )
