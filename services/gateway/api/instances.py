"""Instances: add, read, edit, pause, test and delete them."""

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter

from services.gateway.api.caller import ApiCaller
from services.gateway.api.idempotency import once
from services.gateway.context import Context, ContextDependency
from services.gateway.errors import Invalid
from services.gateway.instances import checks, lifecycle, views
from services.gateway.instances.checks import CheckProgress
from services.gateway.instances.forms import InstanceForm
from services.gateway.instances.views import Instance
from services.gateway.paging import Cursor, Limit, Moment, Page, key_of, page_of
from services.gateway.principals import Principal
from services.gateway.problems import document

router = APIRouter(prefix="/instances", tags=["instances"])

Reader = Annotated[Principal, Depends(ApiCaller("instances:read"))]
Writer = Annotated[Principal, Depends(ApiCaller("instances:write"))]
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]

_KEY = TypeAdapter(tuple[Moment, UUID])
_INSTANCE = TypeAdapter(Instance)
_CHECK = TypeAdapter(CheckProgress)
_Responses = dict[int | str, dict[str, Any]]
_GOES_ON: _Responses = {
    202: {"model": Instance, "description": "The checks have not finished; Location is their address."}
}


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")

    access_key: SecretStr | None = None
    time_zone: str | None = Field(
        None, description="Such as Europe/Lisbon; the days of the figures are its days."
    )
    requests_per_second: float | None = Field(
        None, description="The most requests a second; without it we choose a pace that suits your WHMCS."
    )
    prices_include_tax: bool | None = Field(
        None, description="Whether the prices in WHMCS include tax, which is then taken out of MRR."
    )
    history_start: date | None = Field(
        None,
        description="The first day whose figures are shown; without it that of the first invoice.",
    )


class NewInstance(_Input):
    """A WHMCS to connect. Identifier, secret and access key are stored encrypted and never shown again."""

    name: str
    url: str = Field(description="The WHMCS System URL; the address of one of its pages is shortened to it.")
    identifier: SecretStr
    secret: SecretStr


class ChangedInstance(_Input):
    """The fields to change; all others stay. A new address needs identifier and secret again."""

    name: str | None = None
    url: str | None = None
    identifier: SecretStr | None = None
    secret: SecretStr | None = None
    state: Literal["active", "paused"] | None = None


@router.get("")
async def list_instances(
    context: ContextDependency, principal: Reader, cursor: Cursor = None, limit: Limit = 50
) -> Page[Instance]:
    """Return the instances of the organization, in the order in which they were added."""
    added = await views.list_instances(context, principal, key_of(cursor, _KEY), limit + 1)
    return page_of(added, limit, lambda instance: (instance.created_at, instance.id))


@router.post("", status_code=201, response_model=Instance, responses=_GOES_ON)
async def add_instance(
    request: Request, context: ContextDependency, principal: Writer, new: NewInstance, key: Key = None
) -> Response:
    """Store a draft, test its connection, and return it with its checks: 201 passed, 422 failed, 202 not finished after 20 s."""

    async def work() -> Response:
        added = await lifecycle.add_instance(context, principal, _form(new))
        return await _checked(request, context, principal, added.instance_id, added.check_id, 201)

    return await once(context, principal, key, await request.body(), work)


@router.get("/{instance_id}")
async def get_instance(context: ContextDependency, principal: Reader, instance_id: UUID) -> Instance:
    """Return one instance with its newest checks."""
    return await views.get_instance(context, principal, instance_id)


@router.patch("/{instance_id}", response_model=Instance, responses=_GOES_ON)
async def change_instance(
    request: Request,
    context: ContextDependency,
    principal: Writer,
    instance_id: UUID,
    changed: ChangedInstance,
) -> Response:
    """Change the fields that are given. New credentials are tested before they replace the working ones."""
    form = _form(changed)
    if form != InstanceForm():
        check_id = await lifecycle.edit_instance(context, principal, instance_id, form)
    elif changed.state is None:
        raise Invalid("nothing_given", "Give at least one field to change.")
    else:
        check_id = None
    if changed.state == "paused":
        await lifecycle.pause(context, principal, instance_id)
    elif changed.state == "active":
        await lifecycle.resume(context, principal, instance_id)
    if check_id is not None:
        return await _checked(request, context, principal, instance_id, check_id, 200)
    return _json(await views.get_instance(context, principal, instance_id), 200)


@router.delete("/{instance_id}", status_code=202, response_class=Response)
async def delete_instance(context: ContextDependency, principal: Writer, instance_id: UUID) -> Response:
    """Delete the instance with its credentials, data and figures. 202: this takes a moment after the answer."""
    await lifecycle.delete_instance(context, principal, instance_id)
    return Response(status_code=202)


@router.post("/{instance_id}/checks", response_model=Instance, responses=_GOES_ON)
async def check_again(
    request: Request, context: ContextDependency, principal: Writer, instance_id: UUID
) -> Response:
    """Test the connection again with the stored credentials."""
    check_id = await checks.check_again(context, principal, instance_id)
    return await _checked(request, context, principal, instance_id, check_id, 200)


@router.get("/{instance_id}/checks/{check_id}")
async def get_check(
    context: ContextDependency, principal: Reader, instance_id: UUID, check_id: UUID
) -> CheckProgress:
    """Return the checks so far."""
    return await checks.get_check(context, principal, check_id)


async def _checked(
    request: Request, context: Context, principal: Principal, instance_id: UUID, check_id: UUID, status: int
) -> Response:
    check = await checks.wait_for_check(context, principal, check_id)
    instance = await views.get_instance(context, principal, instance_id)
    if not check.complete:
        answer = _json(instance, 202)
        answer.headers["Location"] = f"/api/v1/instances/{instance_id}/checks/{check_id}"
        return answer
    if not check.passed:
        failed = [line for line in check.checks if line.state == "failed"]
        return document(
            request,
            Invalid(failed[0].code or "check_failed", " ".join(line.message for line in failed)),
            instance_id=str(instance_id),
            **_CHECK.dump_python(check, mode="json", include={"check_id", "checks", "seen_address"}),
        )
    answer = _json(instance, status)
    answer.headers["Location"] = f"/api/v1/instances/{instance_id}"
    return answer


def _json(instance: Instance, status: int) -> JSONResponse:
    return JSONResponse(_INSTANCE.dump_python(instance, mode="json"), status)


def _form(given: NewInstance | ChangedInstance) -> InstanceForm:
    def plain(secret: SecretStr | None) -> str | None:
        return None if secret is None else secret.get_secret_value()

    rate = given.requests_per_second
    takes_back_rate = rate is None and "requests_per_second" in given.model_fields_set
    start = given.history_start
    takes_back_start = start is None and "history_start" in given.model_fields_set
    return InstanceForm(
        name=given.name,
        url=given.url,
        identifier=plain(given.identifier),
        secret=plain(given.secret),
        access_key=plain(given.access_key),
        time_zone=given.time_zone,
        requests_per_second="" if takes_back_rate else None if rate is None else str(rate),
        prices_include_tax=given.prices_include_tax,
        history_start="" if takes_back_start else None if start is None else str(start),
    )
