"""Shares the memory for answers among all WHMCS that this process reads at the same time. Pure."""

from collections import deque
from typing import Self


class CrowdedError(Exception):
    """There is no memory for one more answer of this WHMCS now."""


class Memory:
    """Counts the bytes that answers take, by owner. An owner is whoever reads one WHMCS: a run, details or a check.

    Nobody waits for memory, because a run that holds some pages may need others first, and two such runs could wait for each other.
    Once the limit is reached, an owner with more than an equal share is refused instead, and asks for smaller pages. Others still get
    their share, so n owners take up to (1 + 1/2 + … + 1/n) times the limit while the greedy ones give back what they have.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[object, int] = {}
        # Holds end in any thread and in the middle of anything, so they only leave a note here.
        self._returned: deque[tuple[object, int]] = deque()

    def held(self, owner: object) -> int:
        """Return how many bytes an owner holds."""
        self._settle()
        return self._held.get(owner, 0)

    def has_room(self, owner: object) -> bool:
        """Return whether an owner may ask for answers that it does not need yet."""
        self._settle()
        return sum(self._held.values()) * 2 < self._limit or self._held.get(owner, 0) * 2 < self._share(owner)

    def take(self, owner: object, size: int) -> None:
        """Count `size` more bytes for an owner; raise CrowdedError if it would have more than its share of a full memory."""
        self._settle()
        held = self._held.get(owner, 0) + size
        if held > self._share(owner) and sum(self._held.values()) + size > self._limit:
            raise CrowdedError
        self._held[owner] = held

    def add(self, owner: object, size: int) -> None:
        """Count `size` more bytes that an owner has already, whatever its share."""
        self._settle()
        self._held[owner] = self._held.get(owner, 0) + size

    def give_back(self, owner: object, size: int) -> None:
        """Count `size` bytes less, from any thread."""
        self._returned.append((owner, size))

    def _share(self, owner: object) -> int:
        return self._limit // len({*self._held, owner})

    def _settle(self) -> None:
        while self._returned:
            owner, size = self._returned.popleft()
            self._held[owner] -= size
            if not self._held[owner]:
                del self._held[owner]


class Hold:
    """The memory of one answer. It is given back with the last reference, so each row of the answer keeps one.

    As a context manager, it is also given back after an error, because an error may be kept and refers to all variables on its way.
    """

    def __init__(self, memory: Memory, owner: object) -> None:
        self._memory, self._owner, self._size = memory, owner, 0

    def grow(self, size: int) -> None:
        """Take `size` more bytes; raise CrowdedError if there are too few."""
        self._memory.take(self._owner, size)
        self._size += size

    def resize(self, size: int) -> None:
        """Set how many bytes are in use."""
        if size > self._size:
            self._memory.add(self._owner, size - self._size)
        elif size < self._size:
            self._memory.give_back(self._owner, self._size - size)
        self._size = size

    def end(self) -> None:
        """Give all bytes back."""
        self.resize(0)

    __del__ = end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.end()
