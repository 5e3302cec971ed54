"""Describes a wrong input in our own words. Texts of libraries are never shown."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel

from services.gateway.errors import Invalid, Refused

_LONGEST_NAME: Final = 60


class Expected(NamedTuple):
    """The type and the limits of the values that an input accepts."""

    type: Any
    limits: Mapping[str, Any]


def invalid_input(error: Mapping[str, Any], parameters: Iterable[Any], body: type | None) -> Invalid:
    """Return one error of pydantic as ours. `parameters` and `body` are what the route takes."""
    place, *path = error["loc"]
    names = [str(part) for part in path if isinstance(part, str)]
    field = ".".join(names)[:_LONGEST_NAME] or None
    if field is None:
        is_missing = error["type"] == "missing"
        text = "The body is missing. Send a JSON object." if is_missing else "The body must be a JSON object."
        return Invalid("input_invalid", text)
    match error["type"]:
        case "missing":
            return Invalid("input_invalid", f"{field} is missing.", field)
        case "extra_forbidden":
            choice = ", ".join(_fields(body))
            return Invalid("input_invalid", f"There is no field {field}. Choose one of {choice}.", field)
        case "too_long" if "max_length" in error.get("ctx", {}):
            return Invalid(
                "input_invalid", f"{field} may hold at most {error['ctx']['max_length']:,} values.", field
            )
    expected = _of_body(body, names) if place == "body" else _of_parameter(parameters, names[0])
    return Invalid("input_invalid", f"{field} must be {phrase(expected)}.", field)


def malformed_json(text: str, position: int) -> Refused:
    """Return the error about a text that is not valid JSON from this position on."""
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return Refused(400, "json_invalid", f"The body is not valid JSON. Look at line {line}, column {column}.")


def phrase(expected: Expected) -> str:
    """Return the words for the accepted values, to follow "must be"."""
    kind, limits = expected
    if get_origin(kind) is list:
        [item] = get_args(kind)
        return f"a list, each value {phrase(_unwrapped(item, ()))}"
    if get_origin(kind) is Literal:
        return _choice(get_args(kind))
    if not isinstance(kind, type):
        return "of another form"
    if issubclass(kind, Enum):
        return _choice([member.value for member in kind])
    if issubclass(kind, int):
        return f"a whole number{_range(limits)}"
    return {
        date: "a date such as 2026-11-29",
        UUID: "an id such as 1b4e28ba-2fa1-41d2-883f-0016d3cca427",
    }.get(kind, f"a number{_range(limits)}" if issubclass(kind, float) else f"text{_length(limits)}")


def _choice(values: Sequence[object]) -> str:
    *others, last = [str(value) for value in values]
    return f"{', '.join(others)} or {last}" if others else last


def _range(limits: Mapping[str, Any]) -> str:
    most = limits["lt"] - 1 if "lt" in limits else limits.get("le")
    if "ge" in limits and most is not None:
        return f" from {limits['ge']:,} to {most:,}"
    return ""


def _length(limits: Mapping[str, Any]) -> str:
    return f" of at most {limits['max_length']:,} characters" if "max_length" in limits else ""


def _of_parameter(parameters: Iterable[Any], name: str) -> Expected:
    for parameter in parameters:
        if parameter.alias.lower() == name.lower():
            return _unwrapped(parameter.field_info.annotation, parameter.field_info.metadata)
    return Expected(None, {})


def _of_body(body: Any, names: Sequence[str]) -> Expected:
    field = _fields(body).get(names[0])
    return Expected(None, {}) if field is None else _unwrapped(field.annotation, field.metadata)


def _fields(body: Any) -> Mapping[str, Any]:
    kind = _unwrapped(body, ()).type
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}


def _unwrapped(annotation: Any, metadata: Iterable[Any]) -> Expected:
    """Return a type without `None` and `Annotated`, with the limits from `Annotated`."""
    carried = list(metadata)
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            carried += more
        elif get_origin(annotation) in (Union, UnionType):
            [annotation] = [part for part in get_args(annotation) if part is not type(None)]
        else:
            break
    limits = {
        name: getattr(limit, name)
        for limit in carried
        for name in ("ge", "le", "lt", "max_length")
        if getattr(limit, name, None) is not None
    }
    return Expected(annotation, limits)
