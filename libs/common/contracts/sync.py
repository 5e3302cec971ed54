"""What the connector says of checks and runs. Keyed by instance, so in order for each instance."""

from enum import StrEnum
from typing import Literal
from uuid import UUID

from pydantic import Field

from libs.common.contracts.commands import SyncMode, SyncTrigger
from libs.common.contracts.message import Message
from libs.common.contracts.values import Count, LongText, Moment, Partition, Text


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
    """One line of the checklist. `code` is of the error table (docs/whmcs.md); `action` is the WHMCS action it speaks of."""

    name: Text
    state: Literal["ok", "warning", "failed"]
    code: Text | None = None
    message: LongText
    action: Text | None = None


class Estimate(Message):
    """How much a first sync will read, by the counts that WHMCS gave."""

    rows: Count
    minutes: Count


class InstanceChecked(Message):
    """The checks so far, sent as results come and once with `complete` true. `base_url` is the normalised address."""

    check_id: UUID
    complete: bool
    base_url: LongText | None = None
    checks: tuple[Check, ...]
    whmcs_version: Text | None = None
    seen_address: Text | None = None
    estimate: Estimate | None = None


class KindProgress(Message):
    """Rows read so far of one kind; `expected` is None until WHMCS has said it."""

    rows: Count
    expected: Count | None = None


class SkippedKind(Message):
    """A kind that this run could not read, and why; `required` when figures need it."""

    kind: Text
    action: Text
    code: Text
    required: bool


class SyncQueued(Message):
    """The command has joined this run, new or already there."""

    command_id: UUID
    run_id: UUID
    mode: SyncMode
    trigger: SyncTrigger


class SyncStarted(Message):
    """A worker has begun the run, or gone on with it."""

    run_id: UUID
    mode: SyncMode
    started_at: Moment


class SyncProgressed(Message):
    """Rows per kind so far; the keys are billing kinds. `skipped` are the kinds that could not be read until now."""

    run_id: UUID
    kinds: dict[Text, KindProgress]
    skipped: tuple[SkippedKind, ...] = ()


class Outcome(StrEnum):
    """How a good run ended: all read, read but nothing there, or some kind could not be read."""

    COMPLETE = "complete"
    EMPTY = "empty"
    PARTIAL = "partial"


class SyncSucceeded(Message):
    """A run ended well. `positions` are, per topic and partition, the offsets that a reader has to reach to have seen all its facts.

    `counts` are rows read per kind, `changes` facts published per kind, `bad_rows` rows skipped per kind; `digests`
    (full runs, per kind and block of 10,000 ids) are count and sum of the fingerprints' first 8 bytes modulo 2^64.
    `epoch` is that of the lease which ended the run: every fact that the run saw, or that a run before it saw, has this epoch or a
    smaller one, and facts of later runs have a greater one. Runs of earlier versions do not tell it.
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
    digests: dict[Text, dict[Count, tuple[Count, Text]]] = Field(default_factory=dict)


class SyncFailed(Message):
    """A run ended without result. `code` is of the error table, `message` says in plain words what to do."""

    run_id: UUID
    code: Text
    message: LongText


class SyncCancelled(Message):
    """A run was ended on request, or the connector does not know it."""

    run_id: UUID


class InstancePurged(Message):
    """Everything of the instance is gone from the connector; consumers remove theirs."""

    instance_id: UUID
