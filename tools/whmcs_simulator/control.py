"""The control end, for tests and the demo: plain HTTP on loopback. It tells the truth and changes the company."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tools.whmcs_simulator.access import Credential
from tools.whmcs_simulator.canaries import PREFIXES
from tools.whmcs_simulator.change import candidates
from tools.whmcs_simulator.cycles import iso
from tools.whmcs_simulator.dirt import DIRT, chosen
from tools.whmcs_simulator.faults import KINDS as FAULT_KINDS
from tools.whmcs_simulator.faults import Fault
from tools.whmcs_simulator.records import KINDS, Subscription
from tools.whmcs_simulator.rows.formats import amount
from tools.whmcs_simulator.server import Api
from tools.whmcs_simulator.truth import LENSES, true_figures
from tools.whmcs_simulator.world import World

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Control:
    """What the endpoints read and change; `info` returns the line that the simulator printed at its start."""

    world: World
    api: Api
    info: Callable[[], Answer]


Endpoint = Callable[[Control, Request], Awaitable[Answer]]


def build_control(control: Control) -> Starlette:
    """Return the application of the control end. Errors are `{"error": text}` with status 400."""
    return Starlette(
        routes=[
            Route(path, _json_endpoint(control, endpoint), methods=[method])
            for (method, path), endpoint in _ENDPOINTS.items()
        ]
    )


async def get_info(control: Control, _: Request) -> Answer:
    return control.info()


async def get_truth(control: Control, request: Request) -> Answer:
    """Return the true figures of `day` (default: today) by `lens`; with `include=items` each subscription, too."""
    lens = request.query_params.get("lens", "contract")
    if lens not in LENSES:
        raise ValueError(f"`lens` is one of {', '.join(LENSES)}; got {lens!r}")
    company = control.world.company
    day = date.fromisoformat(request.query_params.get("day") or iso(company.today))
    return true_figures(company, day, lens, items=request.query_params.get("include") == "items")


async def post_advance(control: Control, request: Request) -> Answer:
    """Live `days` days, or `steps` steps of one day: a step is one thing that happens."""
    body = await _json(request, dict)
    name = "steps" if "steps" in body else "days"
    number = body.get(name, 1)
    if type(number) is not int:
        raise ValueError(f"`{name}` is an integer; got {number!r}")
    (control.world.live if name == "steps" else control.world.advance)(number)
    return {"today": iso(control.world.company.today)}


async def post_change(control: Control, request: Request) -> Answer:
    return control.world.change(await _json(request, dict))


async def get_pick(control: Control, request: Request) -> Answer:
    """Return up to `limit` subscriptions of a `kind` that match the other parameters, by id."""
    filters = dict(request.query_params)
    kind, limit = filters.pop("kind", ""), int(filters.pop("limit", "20"))
    if kind not in KINDS:
        raise ValueError(f"`kind` is one of {', '.join(KINDS)}; got {kind!r}")
    company = control.world.company
    matches = candidates(company, kind, filters)
    items = [_item(row, company.customers[row.customer_id].currency) for row in matches[:limit]]
    return {"total": len(matches), "ids": [item["id"] for item in items], "items": items}


async def get_faults(control: Control, _: Request) -> Answer:
    return {
        "faults": [
            {name: getattr(fault, name) for name in Fault.__slots__} for fault in control.api.faults.in_force
        ],
        "kinds": sorted(FAULT_KINDS),
    }


async def put_faults(control: Control, request: Request) -> Answer:
    control.api.faults.replace(await _json(request, list))
    return await get_faults(control, request)


async def delete_faults(control: Control, request: Request) -> Answer:
    control.api.faults.replace([])
    return await get_faults(control, request)


async def get_dirt(control: Control, _: Request) -> Answer:
    """Return the switches of dirty data that are on, and what each switch costs a row: nothing, its figure or the row itself."""
    return {
        "on": control.api.answers.dirt,
        "switches": {name: dirt.harm for name, dirt in DIRT.items()},
    }


async def put_dirt(control: Control, request: Request) -> Answer:
    """Turn on these switches of dirty data, a list or "all", and all others off."""
    control.api.answers.dirt = chosen((await _json(request, dict)).get("on"))
    return await get_dirt(control, request)


async def post_credentials(control: Control, request: Request) -> Answer:
    body = await _json(request, dict)
    actions = _names("actions", body.get("actions", "all"))
    credential = control.api.access.add(actions, _names("allowed_ips", body.get("allowed_ips", "all")))
    return {"identifier": credential.identifier, "secret": credential.secret}


async def put_credential(control: Control, request: Request) -> Answer:
    """Set `actions` and `allowed_ips` (lists, or "all") and `state` (enabled, disabled) of one credential."""
    credential = _credential(control, request)
    body = await _json(request, dict)
    if "actions" in body:
        actions = _names("actions", body["actions"])
        credential.actions = actions and frozenset(action.lower() for action in actions)
    if "allowed_ips" in body:
        credential.allowed_ips = _names("allowed_ips", body["allowed_ips"])
    if "state" in body:
        if body["state"] not in ("enabled", "disabled"):
            raise ValueError(f"`state` is enabled or disabled; got {body['state']!r}")
        credential.state = body["state"]
    return {"identifier": credential.identifier}


async def delete_credential(control: Control, request: Request) -> Answer:
    del control.api.access.credentials[_credential(control, request).identifier]
    return {}


async def get_calls(control: Control, _: Request) -> Answer:
    return control.api.calls.as_json()


async def delete_calls(control: Control, _: Request) -> Answer:
    control.api.calls.clear()
    return control.api.calls.as_json()


async def get_canaries(control: Control, _: Request) -> Answer:
    """Return what must never show up outside the simulator: prefixes of row secrets, and all API secrets."""
    access = control.api.access
    secrets = {credential.secret for credential in access.credentials.values()}
    return {"prefixes": PREFIXES, "secrets": sorted(secrets), "access_key": access.access_key}


_ENDPOINTS: Final[dict[tuple[str, str], Endpoint]] = {
    ("GET", "/info"): get_info,
    ("GET", "/truth"): get_truth,
    ("POST", "/advance"): post_advance,
    ("POST", "/change"): post_change,
    ("GET", "/pick"): get_pick,
    ("GET", "/faults"): get_faults,
    ("PUT", "/faults"): put_faults,
    ("DELETE", "/faults"): delete_faults,
    ("GET", "/dirt"): get_dirt,
    ("PUT", "/dirt"): put_dirt,
    ("POST", "/credentials"): post_credentials,
    ("PUT", "/credentials/{identifier}"): put_credential,
    ("DELETE", "/credentials/{identifier}"): delete_credential,
    ("GET", "/calls"): get_calls,
    ("DELETE", "/calls"): delete_calls,
    ("GET", "/canaries"): get_canaries,
}


def _json_endpoint(control: Control, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        try:
            status, body = 200, await endpoint(control, request)
        except ValueError as error:
            status, body = 400, {"error": str(error)}
        return Response(orjson.dumps(body), status, media_type="application/json")

    return respond


async def _json(request: Request, type_: type[Any]) -> Any:
    body = orjson.loads(await request.body() or b"{}")
    if not isinstance(body, type_):
        raise ValueError(f"the body is a JSON {'object' if type_ is dict else 'array'}")
    return body


def _item(row: Subscription, currency: str) -> Answer:
    return {
        "id": row.id,
        "customer_id": row.customer_id,
        "currency": currency,
        "status": row.status,
        "recurring": amount(row.recurring),
        "cycle": row.cycle,
        "next_due_on": iso(row.next_due_on) if row.next_due_on else None,
        "product": row.product,
        "name": row.name,
    }


def _names(field: str, value: Any) -> frozenset[str] | None:
    """Return the names in a list; None for "all"."""
    if value in ("all", None):
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f'`{field}` is a list of texts, or "all"; got {value!r}')
    return frozenset(value)


def _credential(control: Control, request: Request) -> Credential:
    identifier = request.path_params["identifier"]
    credential = control.api.access.credentials.get(identifier)
    if credential is None:
        raise ValueError(f"there is no credential {identifier}")
    return credential
