"""The description of the API is complete, and its examples are valid."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

from services.gateway import api
from services.gateway.api.openapi import operations_of
from services.gateway.api.reference import FIELDS, OPERATIONS, PARAMETERS, REFUSALS

GATEWAY = Path(__file__).resolve().parents[3] / "services" / "gateway"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    app = FastAPI()
    app.include_router(api.build_router())
    api.describe(app)
    return app.openapi()


def missing(document: dict[str, Any]) -> Iterator[str]:
    """Yield what the description lacks."""
    for place, operation in operations_of(document):
        answers = operation["responses"]
        yield from (f"{place}: {what}" for what in ("security", "description") if not operation.get(what))
        yield from (
            f"{place}: {status}" for status in ("401", "403", "404", "422", "429") if status not in answers
        )
        yield from (
            f"{place}: parameter {parameter['name']}"
            for parameter in operation.get("parameters", [])
            if not parameter.get("description")
        )
        for where, content in contents(operation):
            if content.get("example") is None and not content.get("examples"):
                yield f"{place}: example of {where}"
    for name, schema in document["components"]["schemas"].items():
        if not schema.get("description"):
            yield name
        yield from (
            f"{name}.{field}"
            for field, described in schema.get("properties", {}).items()
            if not described.get("description")
        )


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the bodies of an operation: of its request, and of its answers except ranges of statuses."""
    parts = {"request": operation.get("requestBody", {}), **operation["responses"]}
    for where, part in parts.items():
        if not where.endswith("XX"):
            for content in part.get("content", {}).values():
                yield where, content


def test_description_and_examples_are_complete(document: dict[str, Any]) -> None:
    assert list(missing(document)) == []
    assert len(list(operations_of(document))) >= 19


def test_missing_description_is_noticed(document: dict[str, Any]) -> None:
    broken = copy.deepcopy(document)
    del broken["components"]["schemas"]["Point"]["properties"]["reason"]["description"]
    operation = broken["paths"]["/api/v1/instances"]["post"]
    del operation["requestBody"]["content"]["application/json"]["example"]
    del operation["responses"]["429"], operation["security"]

    assert list(missing(broken)) == [
        "POST /instances: security",
        "POST /instances: 429",
        "POST /instances: example of request",
        "Point.reason",
    ]


def test_examples_fit_their_schemas(document: dict[str, Any]) -> None:
    checked = 0
    for place, operation in operations_of(document):
        for where, content in contents(operation):
            examples = [
                content.get("example"),
                *(example["value"] for example in content.get("examples", {}).values()),
            ]
            schema = (
                {**content["schema"], "components": document["components"]} if "schema" in content else {}
            )
            for example in examples:
                if example is not None:
                    errors = [error.message for error in Draft202012Validator(schema).iter_errors(example)]
                    assert errors == [], f"{place} {where}"
                    checked += 1
    assert checked > 100


def test_examples_show_every_field(document: dict[str, Any]) -> None:
    for place, operation in operations_of(document):
        for where, content in contents(operation):
            name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            if where.startswith("2") and name:
                fields = document["components"]["schemas"][name]["properties"].keys()
                assert content["example"].keys() == fields, place


def test_sentences_describe_existing_fields(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    described = {
        (name.partition("_")[0], field)
        for name, schema in schemas.items()
        for field in schema.get("properties", {})
    }
    parameters = {
        parameter["name"]
        for _, operation in operations_of(document)
        for parameter in operation.get("parameters", [])
    }

    assert {(name, field) for name, fields in FIELDS.items() for field in fields} == described
    assert PARAMETERS.keys() <= parameters
    assert OPERATIONS.keys() == {place for place, _ in operations_of(document)}


def test_codes_are_those_of_the_gateway() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in (GATEWAY, GATEWAY.parents[1] / "libs")
        for path in folder.rglob("*.py")
        if path.name != "reference.py"
    )

    made = {"instance_paused": "instance_{instance.state}"}
    assert [name for name in REFUSALS if f'"{made.get(name, name)}"' not in code] == []
