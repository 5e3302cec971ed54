"""The paths at which overlays differ from base. `python -m tests.deploy.changes` writes them; a test fails when they change."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.deploy.rendering import K8S, OVERLAYS, Document, parse, render, render_text

FOLDER = Path(__file__).parent / "changes"


def changes(overlay: str) -> list[str]:
    """Return a line per document that an overlay adds or removes, and per path that it changes."""
    before = _by_name(parse(render_text(K8S / "base")))
    after = _by_name(render(overlay))
    lines = [f"{name}: removed" for name in before.keys() - after.keys()]
    lines += [f"{name}: added" for name in after.keys() - before.keys()]
    for name in before.keys() & after.keys():
        lines += [f"{name}: {path}" for path in _differing(before[name], after[name], "")]
    return sorted(lines)


def _by_name(documents: list[Document]) -> dict[str, Document]:
    # The names of ConfigMaps end in a hash of their content.
    return {f"{d['kind']} {_without_hash(d['metadata']['name'])}": d for d in documents}


def _without_hash(text: str) -> str:
    return re.sub(r"^(mrrlytics-config)-[a-z0-9]{10}$", r"\1", text)


def _differing(before: Any, after: Any, at: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _differing(before.get(key), after.get(key), f"{at}/{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differing(old, new, f"{at}/{number}")
    elif isinstance(before, str) and isinstance(after, str):
        if _without_hash(before) != _without_hash(after):
            yield at
    elif before != after:
        yield at


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for overlay in OVERLAYS:
        text = "".join(f"{line}\n" for line in changes(overlay))
        (FOLDER / f"{overlay}.txt").write_text(text, encoding="utf-8")
