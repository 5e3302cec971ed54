"""The API answers as its description says, whatever is sent, and never with an error of ours."""

import asyncio
import json
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, assume, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import content_type_conformance, not_a_server_error, response_schema_conformance
from schemathesis.transport.requests import REQUESTS_TRANSPORT

from services.gateway.api import build_router, describe, syncs
from services.gateway.api.openapi import operations_of
from services.gateway.instances import checks
from tests.integration.gateway.conftest import ADDRESS, Gateway
from tests.integration.gateway.test_instances import connected, newest_check

_LONGEST_QUERY: Final = 60_000
_CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


def _questions() -> list[Any]:
    """Return the operations, each with valid inputs and, if it has inputs, with invalid ones."""
    app = FastAPI()
    app.include_router(build_router())
    describe(app)
    document = app.openapi()
    for _, described in operations_of(document):
        # Invented credentials and organizations would be refused before any other input is read.
        del described["security"]
        described["parameters"] = [
            parameter for parameter in described["parameters"] if parameter["name"] != "organization"
        ]
    del document["security"]
    operations = [result.ok() for result in schemathesis.openapi.from_dict(document).get_all_operations()]
    return [
        pytest.param(operation, mode, id=f"{operation.label}, {mode}")
        for operation in operations
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or len(operation.query) or len(operation.body)
    ]


@pytest.fixture
async def site(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the client of an owner, its event loop, and an existing id for each parameter of a path."""
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    _, check_id = await newest_check(gateway)
    owner.client.headers["x-csrf-token"] = await owner.csrf()
    monkeypatch.setattr(checks, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(syncs, "_STREAM_SECONDS", 0.0)
    sync = await owner.client.post(f"/api/v1/instances/{instance_id}/syncs")
    await owner.token("metrics:read")
    return {
        "client": owner.client,
        "loop": asyncio.get_running_loop(),
        "slug": "mrr",
        "instance_id": str(instance_id),
        "check_id": str(check_id),
        "sync_id": sync.headers["location"].rpartition("/")[2],
        "token_id": (await owner.client.get("/api/v1/tokens")).json()["items"][0]["id"],
    }


@pytest.mark.parametrize(("operation", "mode"), _questions())
def test_answers_are_as_the_description_says(
    site: dict[str, Any], operation: Any, mode: GenerationMode
) -> None:
    named = {parameter.name: site[parameter.name] for parameter in operation.path_parameters}

    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(mode, path_parameters=named))
    def ask(case: Case) -> None:
        case.validate_response(_answer(site["loop"], site["client"], case), checks=_CHECKS)

    ask()


def _answer(loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient, case: Case) -> httpx.Response:
    sent = REQUESTS_TRANSPORT.serialize_case(case, base_url=ADDRESS)
    content = json.dumps(sent["json"]) if "json" in sent else sent.get("data")
    kind = {} if content is None else {"content-type": "application/json"}
    url, query = sent["url"], sent.get("params")
    # httpx sends no longer address, and the server refuses one long before that (test_limits).
    assume(len(urlencode(query or {}, doseq=True)) < _LONGEST_QUERY)
    return loop.run_until_complete(
        client.request(sent["method"], url, params=query, content=content, headers=kind)
    )


async def test_misspelt_parameter_is_named(site: dict[str, Any]) -> None:
    answer = await site["client"].get("/api/v1/metrics/mrr?filter[instanse]=42")

    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (
        422,
        "parameter_unknown",
        "filter[instanse]",
    )
    assert "filter[instance]" in answer.json()["detail"]
