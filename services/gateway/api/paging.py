"""The form of every list: a page of items and the cursor of the next one."""

from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """`next` is the `cursor` of the next page, null on the last."""

    items: list[Item]
    next: str | None
