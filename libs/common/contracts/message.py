"""The base of commands, events and all other messages that are not billing facts."""

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """A frozen message. Readers ignore unknown fields, because later versions add fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")
