"""Commands to the connector. The id of a scheduled command follows from its time, so a repeat is the same command."""

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5

from pydantic import Field

from libs.common.contracts.instances import InstanceSettings
from libs.common.contracts.message import Message
from libs.common.contracts.values import Count, Moment, Text

_COMMANDS: Final = UUID("6d3f9a54-6a0e-4a53-9c53-6a1f0a1f7b11")


class SyncMode(StrEnum):
    """What a run reads: everything, or what may have changed. A full run covers an incremental."""

    FULL = "full"
    INCREMENTAL = "incremental"


class SyncTrigger(StrEnum):
    """Whether a schedule or a person asked for the run. Manual runs have priority."""

    SCHEDULE = "schedule"
    MANUAL = "manual"


class CheckInstance(Message):
    """Check address, credentials and permissions with the credential `credential_id`. The answer is InstanceChecked."""

    check_id: UUID
    instance_id: UUID
    credential_id: UUID
    settings: InstanceSettings


class RunSync(Message):
    """Run a sync: of all kinds, or only of `kinds`. The answer is SyncQueued, also when the command joins a run that is already queued
    or running.

    A repeat with the same `command_id` asks for the state of that run. The answer is SyncQueued again, then SyncStarted and
    SyncProgressed of a running run, or the unchanged last event of an ended run.

    `accept_deletions` are the numbers of missing rows per kind that a person has reviewed: the run removes the facts of up to so many
    rows of a kind, although it would hold them otherwise.
    """

    command_id: UUID
    instance_id: UUID
    mode: SyncMode
    trigger: SyncTrigger
    scheduled_for: Moment | None = None
    kinds: tuple[Text, ...] = ()
    accept_deletions: dict[Text, Count] = Field(default_factory=dict)


class CancelSync(Message):
    """End a queued or running run at its next page. The answer is SyncCancelled, or the last event of a run that has ended."""

    command_id: UUID
    instance_id: UUID
    run_id: UUID


class Republish(Message):
    """Publish the facts of these blocks of 10,000 ids again, also those that did not change."""

    command_id: UUID
    instance_id: UUID
    kind: Text
    blocks: tuple[Count, ...]


def tick_id(instance_id: UUID, kind: str, scheduled_for: datetime) -> UUID:
    """Return the id of a scheduled command; `kind` is a mode or "check". It is the same in every replica and after a crash."""
    return uuid5(_COMMANDS, f"{instance_id}:{kind}:{scheduled_for.isoformat()}")
