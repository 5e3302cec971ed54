"""The control end, for tests and the demo: plain http on loopback. It tells the truth and changes the world."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tools.whmcs_simulator.canaries import PREFIXES
from tools.whmcs_simulator.change import candidates
from tools.whmcs_simulator.company import KINDS
from tools.whmcs_simulator.cycles import iso
from tools.whmcs_simulator.faults import KINDS as FAULT_KINDS
from tools.whmcs_simulator.faults import Fault
from tools.whmcs_simulator.rows import amount
from tools.whmcs_simulator.server import Api
from tools.whmcs_simulator.truth import LENSES
from tools.whmcs_simulator.world import World

Answer = dict[str, Any]


def build_control(world: World, api: Api, info: Callable[[], Answer]) -> Starlette:
    """The table of contents of the control end. Errors are `{"error": text}` with status 400."""

    async def get_info(_: Request) -> Answer:
        return info()

    async def truth(request: Request) -> Answer:
        lens = request.query_params.get("lens", "contract")
        if lens not in LENSES:
            raise ValueError(f"`lens` is one of {', '.join(LENSES)}; got {lens!r}")
        day = date.fromisoformat(request.query_params.get("day") or iso(world.company.today))
        return world.company.truth(day, lens, items=request.query_params.get("include") == "items")

    async def advance(request: Request) -> Answer:
        days = (await _json(request, dict)).get("days", 1)
        if type(days) is not int:
            raise ValueError(f"`days` is an integer; got {days!r}")
        world.advance(days)
        return {"today": iso(world.company.today)}

    async def change(request: Request) -> Answer:
        return world.change(await _json(request, dict))

    async def pick(request: Request) -> Answer:
        filters = dict(request.query_params)
        kind, limit = filters.pop("kind", ""), int(filters.pop("limit", "20"))
        if kind not in KINDS:
            raise ValueError(f"`kind` is one of {', '.join(KINDS)}; got {kind!r}")
        found = candidates(world.company, kind, filters)
        items = [
            {
                "id": each.id,
                "customer_id": each.customer_id,
                "currency": world.company.customers[each.customer_id].currency,
                "status": each.status,
                "recurring": amount(each.recurring),
                "cycle": each.cycle,
                "next_due_on": iso(each.next_due_on) if each.next_due_on else None,
                "product": each.product,
                "name": each.name,
            }
            for each in found[:limit]
        ]
        return {"total": len(found), "ids": [item["id"] for item in items], "items": items}

    async def get_faults(_: Request) -> Answer:
        return {
            "faults": [
                {name: getattr(fault, name) for name in Fault.__slots__} for fault in api.faults.in_force
            ],
            "kinds": sorted(FAULT_KINDS),
        }

    async def put_faults(request: Request) -> Answer:
        api.faults.replace(await _json(request, list))
        return await get_faults(request)

    async def delete_faults(request: Request) -> Answer:
        api.faults.replace([])
        return await get_faults(request)

    async def post_credentials(request: Request) -> Answer:
        wanted = await _json(request, dict)
        actions = _names("actions", wanted.get("actions", "all"))
        credential = api.access.add(actions, _names("allowed_ips", wanted.get("allowed_ips", "all")))
        return {"identifier": credential.identifier, "secret": credential.secret}

    async def put_credential(request: Request) -> Answer:
        """`actions` and `allowed_ips` (lists, or "all") and `state` (enabled, disabled) of one credential."""
        credential = _credential(api, request)
        wanted = await _json(request, dict)
        if "actions" in wanted:
            actions = _names("actions", wanted["actions"])
            credential.actions = actions and frozenset(action.lower() for action in actions)
        if "allowed_ips" in wanted:
            credential.allowed_ips = _names("allowed_ips", wanted["allowed_ips"])
        if "state" in wanted:
            if wanted["state"] not in ("enabled", "disabled"):
                raise ValueError(f"`state` is enabled or disabled; got {wanted['state']!r}")
            credential.state = wanted["state"]
        return {"identifier": credential.identifier}

    async def delete_credential(request: Request) -> Answer:
        del api.access.credentials[_credential(api, request).identifier]
        return {}

    async def get_calls(_: Request) -> Answer:
        return api.calls.as_json()

    async def delete_calls(_: Request) -> Answer:
        api.calls.forget()
        return api.calls.as_json()

    async def canaries(_: Request) -> Answer:
        secrets = {credential.secret for credential in api.access.credentials.values()}
        return {"prefixes": PREFIXES, "secrets": sorted(secrets), "access_key": api.access.access_key}

    routes = [
        ("GET", "/info", get_info),
        ("GET", "/truth", truth),
        ("POST", "/advance", advance),
        ("POST", "/change", change),
        ("GET", "/pick", pick),
        ("GET", "/faults", get_faults),
        ("PUT", "/faults", put_faults),
        ("DELETE", "/faults", delete_faults),
        ("POST", "/credentials", post_credentials),
        ("PUT", "/credentials/{identifier}", put_credential),
        ("DELETE", "/credentials/{identifier}", delete_credential),
        ("GET", "/calls", get_calls),
        ("DELETE", "/calls", delete_calls),
        ("GET", "/canaries", canaries),
    ]
    return Starlette(
        routes=[Route(path, _json_of(answer), methods=[method]) for method, path, answer in routes]
    )


def _json_of(answer: Callable[[Request], Awaitable[Answer]]) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        try:
            status, body = 200, await answer(request)
        except ValueError as error:
            status, body = 400, {"error": str(error)}
        return Response(orjson.dumps(body), status, media_type="application/json")

    return respond


async def _json(request: Request, type_: type[Any]) -> Any:
    body = orjson.loads(await request.body() or b"{}")
    if not isinstance(body, type_):
        raise ValueError(f"the body is a JSON {'object' if type_ is dict else 'array'}")
    return body


def _names(field: str, given: Any) -> frozenset[str] | None:
    """None for all."""
    if given in ("all", None):
        return None
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise ValueError(f'`{field}` is a list of texts, or "all"; got {given!r}')
    return frozenset(given)


def _credential(api: Api, request: Request) -> Any:
    identifier = request.path_params["identifier"]
    if identifier not in api.access.credentials:
        raise ValueError(f"there is no credential {identifier}")
    return api.access.credentials[identifier]
