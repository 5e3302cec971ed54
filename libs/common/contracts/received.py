"""Read commands, events and all other messages that are not billing facts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from libs.common.contracts.envelope import (
    Envelope,
    ReadHeaders,
    ce_headers,
    check_epoch,
    check_not_ahead,
    check_size,
    read_envelope,
    read_headers,
)
from libs.common.contracts.instances import InstanceChanged, InstanceKey
from libs.common.contracts.topics import INSTANCE_KEY, Topic


@dataclass(frozen=True, slots=True)
class Received:
    """A message that was read: its body, the instance that it is about, and when it was sent."""

    body: Any
    type: str
    id: str
    instance: InstanceKey
    headers: Mapping[str, str]
    at: datetime


class MessageReader:
    """Reads the records of one topic. All services read through it, so a record that it refuses is handled nowhere."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._adapters = {name: TypeAdapter[Any](shape) for name, shape in topic.messages.items()}

    def read(
        self, key: bytes | None, value: bytes | None, pairs: ReadHeaders, now: datetime
    ) -> Received | None:
        """Return the message, or None when the topic has no such type; raise ValueError when the record is not valid."""
        envelope = read_envelope(ce_headers(pairs), now)
        adapter = self._adapters.get(envelope.type)
        if adapter is None:
            return None
        check_size(value)
        body = adapter.validate_json(value or b"")
        if self._topic.key == INSTANCE_KEY and key != str(envelope.instance.instance_id).encode():
            raise ValueError("the key is not the instance of the headers")
        _check_subject(body, envelope)
        check_not_ahead(getattr(body, "started_at", None), envelope.at)
        check_epoch(getattr(body, "epoch", None) or 0, now)
        return Received(
            body,
            envelope.type,
            envelope.id,
            envelope.instance,
            read_headers(pairs),
            envelope.at,
        )


def _check_subject(body: Any, envelope: Envelope) -> None:
    """Raise ValueError when the body names another instance or organization than the headers. Services use those of the headers."""
    instance_id = body.id if isinstance(body, InstanceChanged) else getattr(body, "instance_id", None)
    organization_id = getattr(body, "organization_id", None)
    instance = envelope.instance
    if instance_id not in (None, instance.instance_id) or organization_id not in (
        None,
        instance.organization_id,
    ):
        raise ValueError("the body is about another instance than the headers")
