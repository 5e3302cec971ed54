"""Compare two JSON Schemas of a message: find the changes that break its readers. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_LOWER_LIMITS: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER_LIMITS: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Return the changes that break readers: removed fields, narrower types, newly required fields. Empty for additions."""
    return sorted(set(_compare(_Node(old, old), _Node(new, new), "")))


class _Node:
    """A part of a schema, and the whole schema that resolves its references."""

    def __init__(self, part: Schema, whole: Schema) -> None:
        while "$ref" in part:
            part = whole["$defs"][part["$ref"].rsplit("/", 1)[-1]]
        self.part, self.whole = part, whole

    def __getitem__(self, name: str) -> "_Node":
        return _Node(self.part[name], self.whole)

    def __contains__(self, name: str) -> bool:
        return isinstance(self.part.get(name), Mapping)

    def alternatives(self) -> list["_Node"]:
        return [
            node for part in self.part.get("anyOf", []) for node in _Node(part, self.whole).alternatives()
        ] or [self]

    def values(self) -> list[Any] | None:
        """Return the closed set of values; None when any value is allowed."""
        if "const" in self.part:
            return [self.part["const"]]
        return self.part.get("enum")

    def fields(self) -> dict[str, "_Node"]:
        return {name: _Node(part, self.whole) for name, part in self.part.get("properties", {}).items()}


def _compare(old: _Node, new: _Node, at: str) -> Iterator[str]:
    for alternative in old.alternatives():
        findings = [
            list(_compare_alternative(alternative, candidate, at)) for candidate in new.alternatives()
        ]
        if all(findings):
            yield from min(findings, key=len)


def _compare_alternative(old: _Node, new: _Node, at: str) -> Iterator[str]:
    place = at or "the body"
    before, after = old.part.get("type"), new.part.get("type")
    if before != after and after is not None and (before, after) != ("integer", "number"):
        yield f"{place}: the type {before} is no longer accepted"
        return
    allowed = new.values()
    if allowed is not None:
        before_values = old.values()
        if before_values is None:
            yield f"{place}: values other than {allowed} are no longer accepted"
        for value in before_values or []:
            if value not in allowed:
                yield f"{place}: {value!r} is no longer accepted"
    for name in ("pattern", "format"):
        if name in new.part and new.part[name] != old.part.get(name):
            yield f"{place}: the {name} has changed"
    for name in _LOWER_LIMITS:
        if name in new.part and new.part[name] > old.part.get(name, float("-inf")):
            yield f"{place}: the limit {name} is narrower"
    for name in _UPPER_LIMITS:
        if name in new.part and new.part[name] < old.part.get(name, float("inf")):
            yield f"{place}: the limit {name} is narrower"
    yield from _compare_fields(old, new, at)
    for name in ("items", "additionalProperties"):
        if name in old and name in new:
            yield from _compare(old[name], new[name], f"{at}[]")


def _compare_fields(old: _Node, new: _Node, at: str) -> Iterator[str]:
    before, after = old.fields(), new.fields()
    for name in set(new.part.get("required", [])) - set(old.part.get("required", [])):
        yield f"{at}.{name}".lstrip(".") + ": is newly required"
    for name, node in before.items():
        place = f"{at}.{name}".lstrip(".")
        if name in after:
            yield from _compare(node, after[name], place)
        else:
            yield f"{place}: was removed"
