"""Events of checks and runs, from the connector. Their key is the instance, so they are in order for each instance."""

from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

from pydantic import Field

from libs.common.contracts.commands import SyncMode, SyncTrigger
from libs.common.contracts.message import Message
from libs.common.contracts.values import Count, LongText, Moment, Partition, Text

# Digests and Republish divide the rows of a kind into blocks of so many ids: a row is in the block `id // IDS_PER_BLOCK`.
IDS_PER_BLOCK: Final = 10_000
# SyncSucceeded.warnings[ANSWERS]["noise"] counts the answers around which the site wrote text. They are of no kind.
ANSWERS: Final = "answers"


class RunState(StrEnum):
    """How a run stands. PARTIAL: some kind could not be read, the others are in the figures."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """Return whether the run may still publish facts."""
        return self in (RunState.QUEUED, RunState.RUNNING)


class Check(Message):
    """One line of the checklist. `code` is in the table of failures (docs/whmcs.md); `action` is the WHMCS action that was tried.

    `detail` is what WHMCS or the network said, without secrets.
    """

    name: Text
    state: Literal["ok", "warning", "failed"]
    code: Text | None = None
    message: LongText
    action: Text | None = None
    detail: LongText | None = None


class Estimate(Message):
    """How much a first sync will read, estimated from the counts in the answers of WHMCS."""

    rows: Count
    minutes: Count


class InstanceChecked(Message):
    """The results of a check so far, sent after each result; the last message has `complete` true. `base_url` is the normalised address."""

    check_id: UUID
    complete: bool
    base_url: LongText | None = None
    checks: tuple[Check, ...]
    whmcs_version: Text | None = None
    seen_address: Text | None = None
    estimate: Estimate | None = None


class KindProgress(Message):
    """Rows of one kind read so far. `expected` is None until WHMCS has sent a total."""

    rows: Count
    expected: Count | None = None


class SkippedKind(Message):
    """A kind that this run could not read, and why. `required` is true when figures need the kind."""

    kind: Text
    action: Text
    code: Text
    required: bool


class SyncQueued(Message):
    """The command has joined this run, which is new, queued or running."""

    command_id: UUID
    run_id: UUID
    mode: SyncMode
    trigger: SyncTrigger


class SyncStarted(Message):
    """A worker has begun the run, or continues it."""

    run_id: UUID
    mode: SyncMode
    started_at: Moment


class SyncProgressed(Message):
    """Rows per billing kind so far. `skipped` are the kinds that could not be read until now."""

    run_id: UUID
    kinds: dict[Text, KindProgress]
    skipped: tuple[SkippedKind, ...] = ()


class UnreadableRow(Message):
    """A WHMCS row that a run could not read, and why. `id` is None when the id itself could not be read."""

    id: Count | None
    reason: Text


class UnreadableRows(Message):
    """How many rows of a kind a run could not read. `rows` lists the first 1,000 of them; with more, the kind was not read whole."""

    count: Count
    rows: tuple[UnreadableRow, ...] = Field(default=(), max_length=1_000)


class HeldDeletions(Message):
    """Rows that are missing in WHMCS and wait for a person before their facts are removed: `count` of the `total` rows of a kind.

    `reason`: too many rows are missing at once, the list is empty, or the greatest ids went down as after a restored backup. `ids` are the
    first 100 of them; connectors of earlier versions send none.
    """

    count: Count
    total: Count
    reason: Literal["too_many", "list_empty", "ids_went_down"]
    ids: tuple[Count, ...] = Field(default=(), max_length=100)


class Outcome(StrEnum):
    """How a good run ended: all read, read but nothing there, or some kind could not be read."""

    COMPLETE = "complete"
    EMPTY = "empty"
    PARTIAL = "partial"


class SyncSucceeded(Message):
    """A run has ended and its facts can be used. `counts`, `changes` and `bad_rows` are rows read, published and skipped, per kind.

    A consumer has all facts of the run when it has read up to `positions`: the next offset per topic and partition.
    `whole` are the kinds of which the run read every row. A row of such a kind that is not in `unreadable` was there at the time of the
    run, and it is unchanged unless a fact says otherwise. A kind that is not in `whole` proves nothing about a row without a fact.
    Connectors of earlier versions do not send `whole`; each of their runs read all kinds in `counts`.
    `warnings` says, per kind and field, how often a field that no figure needs could not be read. The kind `answers` stands
    for the answers of WHMCS themselves: its field `noise` says around how many of them the site wrote text, such as PHP notices.
    `held` are the kinds with rows that wait for a person.
    `digests` (full runs only) are, per kind and block of 10,000 ids, the number of rows and the sum of the first 8 bytes of
    their fingerprints as big-endian numbers, modulo 2^64, in decimal digits. A block without a digest proves nothing.
    `same_as` (full runs only) are the organization's other instances that read the same WHMCS.
    `epoch` is the epoch of the lease that ended the run. Facts of this run and of earlier runs have this epoch or a smaller
    one; facts of later runs have a greater one. Connectors of earlier versions do not send it.
    """

    run_id: UUID
    mode: SyncMode
    started_at: Moment
    outcome: Outcome
    counts: dict[Text, Count]
    changes: dict[Text, Count]
    bad_rows: dict[Text, Count] = Field(default_factory=dict)
    skipped: tuple[SkippedKind, ...] = ()
    positions: dict[Text, dict[Partition, Count]]
    epoch: int | None = Field(default=None, ge=0, lt=2**63)
    whole: tuple[Text, ...] | None = None
    unreadable: dict[Text, UnreadableRows] = Field(default_factory=dict)
    warnings: dict[Text, dict[Text, Count]] = Field(default_factory=dict)
    held: dict[Text, HeldDeletions] = Field(default_factory=dict)
    digests: dict[Text, dict[Count, tuple[Count, Text]]] = Field(default_factory=dict)
    same_as: tuple[UUID, ...] = ()


class SyncFailed(Message):
    """A run has failed. `code` is in the table of failures; `message` says in plain words what to do."""

    run_id: UUID
    code: Text
    message: LongText


class SyncCancelled(Message):
    """A run was cancelled, or the connector has no such run."""

    run_id: UUID


class DetailsProgressed(Message):
    """How many rows of each kind that is read by id are up to date, sent while the connector reads them between the runs.

    `expected` counts the rows that WHMCS has. `minutes_left` is an estimate from the pace of the last minutes; None while there is none.
    All rows are read once `rows` reaches `expected`.
    `waiting` says how many rows of each kind are read next. Other rows that are missing are set aside until the next full run has ended,
    because WHMCS failed on each of them several times. Connectors of earlier versions do not send it.
    """

    instance_id: UUID
    kinds: dict[Text, KindProgress]
    minutes_left: Count | None = None
    waiting: dict[Text, Count] = Field(default_factory=dict)


class InstancePurged(Message):
    """The connector has erased all rows of the instance. Consumers now erase theirs."""

    instance_id: UUID
