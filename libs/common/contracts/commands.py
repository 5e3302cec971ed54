"""Commands to the connector. A tick's id is derived from its time, so that a repeat is the same command."""

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5

from libs.common.contracts.instances import InstanceSettings
from libs.common.contracts.message import Message
from libs.common.contracts.values import Count, Moment, Text

_COMMANDS: Final = UUID("6d3f9a54-6a0e-4a53-9c53-6a1f0a1f7b11")


class SyncMode(StrEnum):
    """A full run reads everything, an incremental what may have changed: for now that is everything, too. Full covers incremental."""

    FULL = "full"
    INCREMENTAL = "incremental"


class SyncTrigger(StrEnum):
    """Who asked. Manual runs go before scheduled ones."""

    SCHEDULE = "schedule"
    MANUAL = "manual"


class CheckInstance(Message):
    """Check address, credentials and permissions with the credential `credential_id`; answered by InstanceChecked."""

    check_id: UUID
    instance_id: UUID
    credential_id: UUID
    settings: InstanceSettings


class RunSync(Message):
    """Run a sync; answered by SyncQueued, also when the command joined a run that was there.

    Sent again with the same `command_id` it asks how that run stands: the answer is SyncQueued and then, of a running run, SyncStarted and
    SyncProgressed, or of an ended one its last event again, word for word.
    """

    command_id: UUID
    instance_id: UUID
    mode: SyncMode
    trigger: SyncTrigger
    scheduled_for: Moment | None = None


class CancelSync(Message):
    """End a queued or running run at its next page. Always answered: by SyncCancelled, or by the last event of a run that has ended."""

    command_id: UUID
    instance_id: UUID
    run_id: UUID


class Republish(Message):
    """Publish the facts of these blocks of 10,000 ids again, whether or not they changed."""

    command_id: UUID
    instance_id: UUID
    kind: Text
    blocks: tuple[Count, ...]


def tick_id(instance_id: UUID, kind: str, scheduled_for: datetime) -> UUID:
    """Identity of a scheduled command, `kind` a mode or "check": the same for every replica, crash and repeat."""
    return uuid5(_COMMANDS, f"{instance_id}:{kind}:{scheduled_for.isoformat()}")
