"""Compares the records of metrics with the digests of a full run, block by block, and decides what to do about blocks that differ.

A block is 10,000 ids of one kind. Its digest is the number of rows, and the sum of the first 8 bytes of their fingerprints modulo 2^64.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

# A block is asked for at most once a day.
_ASK_AGAIN: Final = timedelta(days=1)
# More removals than this at once are more likely a fault of ours than removals in WHMCS.
_MOST_REMOVED: Final = 20
_MOST_REMOVED_SHARE: Final = 0.20


class Digest(NamedTuple):
    """The number of rows of a block, and the sum of their fingerprints."""

    rows: int
    total: int


@dataclass(frozen=True, slots=True)
class Digests:
    """The digests of a full run, per kind and block. Of the kinds in `read_fully` it read every row, and holds back no deletion."""

    epoch: int
    started_at: datetime
    kinds: Mapping[str, Mapping[int, Digest]]
    read_fully: Collection[str]


class Stored(NamedTuple):
    """The digest of the records of a block. `undigested` of its rows have no fingerprint, and its newest fact has `newest_epoch`."""

    digest: Digest
    undigested: int
    newest_epoch: int


class Asked(NamedTuple):
    """When metrics asked the connector to publish a block again. All facts that it had then have the epoch `epoch` or a smaller one."""

    at: datetime
    epoch: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about the blocks of one kind.

    `ask` for the blocks that differ, and forget those that are `healed`. Blocks in `failed` differ although they were asked for. In
    `published` all rows that exist were published again, so the other rows are gone.
    """

    ask: tuple[int, ...]
    healed: tuple[int, ...]
    failed: tuple[int, ...]
    published: tuple[int, ...]


def judge(
    digests: Digests,
    kind: str,
    stored: Mapping[int, Stored],
    asked: Mapping[int, Asked],
    published: Mapping[int, Digest],
    now: datetime,
) -> Verdict:
    """Return what to do about the blocks of a kind that have a digest. A block without one proves nothing.

    `stored` are all blocks with records, `asked` those that were asked for, and `published` the digests of the rows of these that have a
    newer epoch than the records had when metrics asked.
    """
    ask, healed, failed, vanished = [], [], [], []
    for block, digest in sorted(digests.kinds[kind].items()):
        if block in stored and stored[block].newest_epoch > digests.epoch:
            continue  # facts after the run have changed the block
        before = asked.get(block)
        if _is_equal(stored.get(block), digest):
            if before is not None:
                healed.append(block)
        elif before is None:
            ask.append(block)
        elif digests.started_at > before.at:
            if kind in digests.read_fully and published.get(block) == digest:
                vanished.append(block)
                continue
            failed.append(block)
            if now - before.at >= _ASK_AGAIN:
                ask.append(block)
    return Verdict(tuple(ask), tuple(healed), tuple(failed), tuple(vanished))


def _is_equal(stored: Stored | None, digest: Digest) -> bool:
    if stored is None:
        return digest.rows == 0
    if stored.undigested:
        return stored.digest.rows == digest.rows
    return stored.digest == digest


def may_remove(rows: int, total: int) -> bool:
    """Return whether so many of all rows of a kind may be removed at once."""
    return rows <= _MOST_REMOVED or rows <= _MOST_REMOVED_SHARE * total
