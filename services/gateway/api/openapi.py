"""Complete the description of the API: authentication, refusals, descriptions of fields, and examples."""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI

from services.gateway.api.reference import (
    BODY,
    COMMON,
    FIELDS,
    LIMITED,
    OPERATIONS,
    PARAMETERS,
    REFUSALS,
    Operation,
)
from services.gateway.problems import title_of
from services.gateway.requests import API_PREFIX

_SECURITY: Final = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token, made under Settings > API tokens: `Authorization: Bearer mrr_pat_…`.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-mrr_session",
        "description": "The session of a signed-in person. What changes something also needs the header X-CSRF-Token.",
    },
}
_PROBLEM: Final = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        **{name: {"type": "string"} for name in FIELDS["Problem"]},
        "status": {"type": "integer"},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldProblem"}},
    },
}
_FIELD_PROBLEM: Final = {
    "type": "object",
    "description": "What is wrong with one field.",
    "required": ["code", "detail", "field"],
    "properties": {name: {"type": "string"} for name in FIELDS["FieldProblem"]},
}
_PROBLEM_CONTENT: Final = {"$ref": "#/components/schemas/Problem"}


def describe(app: FastAPI) -> None:
    """Add all texts and examples of `reference` to the description that the application gives of itself."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(made())
        return made()

    app.openapi = openapi  # type: ignore[method-assign]


def operations_of(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the operations of a description with their method and path."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path.removeprefix(API_PREFIX)}", operation


def _complete(document: dict[str, Any]) -> None:
    components = document["components"]
    components["securitySchemes"] = _SECURITY
    components["schemas"] |= {"Problem": _PROBLEM, "FieldProblem": _FIELD_PROBLEM}
    document["security"] = [{name: []} for name in _SECURITY]
    for name, schema in components["schemas"].items():
        texts = FIELDS.get(name.partition("_")[0], {})
        for field, described in schema.get("properties", {}).items():
            if field in texts:
                described["description"] = texts[field]
    for place, operation in operations_of(document):
        _complete_operation(place, operation, OPERATIONS.get(place, Operation()))


def _complete_operation(place: str, operation: dict[str, Any], examples: Operation) -> None:
    operation["security"] = [{name: []} for name in _SECURITY]
    for parameter in operation.get("parameters", []):
        if parameter["name"] in PARAMETERS:
            parameter["description"] = PARAMETERS[parameter["name"]]
    if "requestBody" in operation:
        operation["requestBody"]["content"]["application/json"]["example"] = examples.request
    for status, answer in operation["responses"].items():
        if status.startswith("2") and (content := answer.get("content", {}).get("application/json")):
            content["example"] = examples.answer
    codes = [*COMMON, *examples.refusals, *(BODY if "requestBody" in operation else ()), *LIMITED]
    for status in sorted({REFUSALS[code][0] for code in codes}):
        refused = {code: REFUSALS[code][1] for code in codes if REFUSALS[code][0] == status}
        operation["responses"][str(status)] = _refusal(status, refused)


def _refusal(status: int, sentences: dict[str, str]) -> dict[str, Any]:
    examples = {
        code: {
            "value": {
                "type": f"urn:mrrlytics:problem:{code}",
                "title": title_of(code),
                "status": status,
                "code": code,
                "detail": sentence,
                "request_id": "0f2d6d0b1c5e4d6fa8f0c3b2a1908070",
            }
        }
        for code, sentence in sentences.items()
    }
    return {
        "description": f"Refused: {', '.join(f'`{code}`' for code in sentences)}.",
        "content": {"application/problem+json": {"schema": _PROBLEM_CONTENT, "examples": examples}},
    }
