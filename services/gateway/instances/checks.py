"""Connection tests: request them from the connector, store its answers, and activate the credentials that passed."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.addresses import origin
from libs.common.contracts import topics
from libs.common.contracts.commands import CheckInstance
from libs.common.contracts.instances import InstanceKey, InstanceSettings, InstanceState
from libs.common.contracts.sync import Check, Estimate, InstanceChecked
from libs.common.crypto import seal
from libs.common.database import transaction
from services.gateway import audit, repository
from services.gateway.context import SYSTEM, Context
from services.gateway.errors import Invalid, NotFound, TooMany
from services.gateway.instances import transitions
from services.gateway.instances.forms import Entries
from services.gateway.instances.states import Event, next_state
from services.gateway.principals import Principal
from services.gateway.repository.checks import StoredCheck
from services.gateway.repository.instances import StoredInstance

SAVE_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.5
# 10 checks a minute of an organization and 5 of a host, on average, so that our checks cannot scan a network.
_CHECKS_WINDOW: Final = timedelta(minutes=10)
_CHECKS_OF_ORGANIZATION: Final = 100
_CHECKS_OF_HOST: Final = 50
_ANSWER_LIFE: Final = timedelta(minutes=5)
_UNANSWERED: Final = Check(
    name="answer",
    state="failed",
    code="run_timeout",
    message="The connection test did not finish. Test again in a few minutes. "
    "If it happens again, ask the person who runs MRRlytics to restart it.",
)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A credential to check. With `is_new` it replaces the one in use when it passes."""

    credential_id: UUID
    address: str
    identifier_hint: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """The checklist so far. `is_new_credential` is True for entered credentials, False for a new test of the stored ones."""

    check_id: UUID
    started_at: datetime
    is_new_credential: bool
    complete: bool
    checks: tuple[Check, ...]
    seen_address: str | None
    estimate: Estimate | None

    @property
    def passed(self) -> bool:
        """Return whether the check is complete and nothing failed."""
        return self.complete and all(line.state != "failed" for line in self.checks)


async def get_check(context: Context, principal: Principal, check_id: UUID) -> CheckProgress:
    """Return a check; raise NotFound when the organization has none of this id."""
    async with transaction(context.engine, principal.organization_id) as connection:
        check = await repository.checks.read(connection, check_id)
    if check is None:
        raise NotFound(
            "check_not_found",
            "There is no such connection test in this organization. Test the instance again.",
        )
    return progress_of(check, principal)


async def wait_for_check(context: Context, principal: Principal, check_id: UUID) -> CheckProgress:
    """Return the check once it is complete, or as it is after 20 s. It uses no connection while it waits."""
    deadline = asyncio.get_running_loop().time() + SAVE_SECONDS
    while True:
        check = await get_check(context, principal, check_id)
        if check.complete or asyncio.get_running_loop().time() >= deadline:
            return check
        await asyncio.sleep(_POLL_SECONDS)


def progress_of(check: StoredCheck, principal: Principal) -> CheckProgress:
    """Return a stored check as this person sees it: what WHMCS said word for word is for those who can change the connection."""
    lines = check.checks
    if not principal.may("instances:write"):
        lines = tuple(line.model_copy(update={"detail": None}) for line in lines)
    return CheckProgress(
        check_id=check.check_id,
        started_at=check.started_at,
        is_new_credential=check.is_new_credential,
        complete=check.is_complete,
        checks=lines,
        seen_address=check.seen_address,
        estimate=check.estimate,
    )


async def check_again(context: Context, principal: Principal, instance_id: UUID) -> UUID:
    """Request all checks with the stored credential again; return the id of the check."""
    async with transaction(context.engine, principal.organization_id) as connection:
        instance = await transitions.lock_editable(connection, instance_id)
        candidate = await _stored_candidate(connection, instance)
        await refuse_too_many(connection, context, instance.address)
        check_id = await _ask(connection, context, instance.key, instance.settings, candidate)
        await audit.record(connection, context, principal, "instance.checked", instance_id)
    return check_id


async def _stored_candidate(connection: AsyncConnection, instance: StoredInstance) -> _Candidate:
    """Return the credential in use, for a draft the newest one; raise Invalid when none is stored."""
    last = await repository.checks.newest(connection, instance.instance_id)
    hint = instance.identifier_hint or (last.identifier_hint if last is not None else "")
    candidate = None
    if instance.credential_id is not None:
        candidate = _Candidate(instance.credential_id, instance.address, hint, is_new=False)
    elif last is not None:
        candidate = _Candidate(last.credential_id, instance.address, hint, is_new=True)
    if candidate is None or not await repository.credentials.exists(
        connection, instance.instance_id, candidate.credential_id
    ):
        raise Invalid(
            "credentials_required",
            "No API credentials are stored. Enter the API identifier and secret.",
            "identifier",
        )
    return candidate


async def refuse_too_many(connection: AsyncConnection, context: Context, address: str) -> None:
    """Raise TooMany when the organization requested too many checks lately, in total or of this host."""
    now = context.clock()
    recent = await repository.checks.addresses_between(connection, now - _CHECKS_WINDOW, now + _CHECKS_WINDOW)
    host = urlsplit(address).hostname
    of_host = sum(urlsplit(checked).hostname == host for checked in recent)
    if len(recent) >= _CHECKS_OF_ORGANIZATION or of_host >= _CHECKS_OF_HOST:
        raise TooMany(
            "too_many_checks", "You started too many connection tests. Try again in a minute.", retry_after=60
        )


async def check_new_credential(
    connection: AsyncConnection,
    context: Context,
    key: InstanceKey,
    entries: Entries,
    *,
    working: UUID | None,
) -> UUID:
    """Seal and store the entered credential and request its check; return the id of the check. `working` is the credential in use."""
    candidate = _Candidate(uuid4(), entries.address, entries.secrets["identifier"][-4:], is_new=True)
    cipher = seal(context.keyring, entries.secrets, **key._asdict(), origin=origin(entries.address))
    # Discard credentials that were entered before and never passed a check.
    await repository.credentials.delete_all_but(connection, key.instance_id, kept=working)
    await repository.credentials.add(connection, key, candidate.credential_id, entries.address, cipher)
    return await _ask(connection, context, key, entries.settings, candidate)


async def _ask(
    connection: AsyncConnection,
    context: Context,
    key: InstanceKey,
    settings: InstanceSettings,
    candidate: _Candidate,
) -> UUID:
    check_id, now = uuid4(), context.clock()
    await repository.checks.add(
        connection,
        organization_id=key.organization_id,
        instance_id=key.instance_id,
        check_id=check_id,
        credential_id=candidate.credential_id,
        address=candidate.address,
        identifier_hint=candidate.identifier_hint,
        is_new_credential=candidate.is_new,
        started_at=now,
    )
    command = CheckInstance(
        check_id=check_id,
        instance_id=key.instance_id,
        credential_id=candidate.credential_id,
        settings=settings,
    )
    await repository.outbox.publish(connection, topics.SYNC_COMMANDS, command, str(check_id), key, now)
    return check_id


async def store_answer(
    connection: AsyncConnection, context: Context, instance: StoredInstance | None, answer: InstanceChecked
) -> bool:
    """Store an answer about a check and, once it is complete, act on it. Return whether a draft became active."""
    before = await repository.checks.read(connection, answer.check_id)
    if before is not None and before.is_complete and not (before.is_assumed and answer.complete):
        return False
    check = await repository.checks.store_answer(
        connection,
        answer.check_id,
        is_complete=answer.complete,
        checks=[line.model_dump(mode="json") for line in answer.checks],
        whmcs_version=answer.whmcs_version,
        seen_address=answer.seen_address,
        estimate=None if answer.estimate is None else answer.estimate.model_dump(),
    )
    if not answer.complete or instance is None or instance.state == InstanceState.DELETING:
        return False
    failed = next((line for line in answer.checks if line.state == "failed"), None)
    if check is not None and check.is_new_credential:
        if failed is None:
            return await _activate_credential(connection, context, instance, check)
        if instance.state != InstanceState.DRAFT:
            await repository.credentials.delete(connection, instance.instance_id, check.credential_id)
    elif failed is None:
        await transitions.recover(connection, context, instance, answer.whmcs_version)
    elif failed.code is not None:
        await transitions.stop(connection, context, instance, failed.code, failed.message)
    return False


async def _activate_credential(
    connection: AsyncConnection, context: Context, instance: StoredInstance, check: StoredCheck
) -> bool:
    """Use a checked credential from now on. Return whether a draft became active.

    A credential that was entered during the check has deleted the checked one. Then nothing changes, because the check of the
    newer one will decide.
    """
    if not await repository.credentials.exists(connection, instance.instance_id, check.credential_id):
        return False
    await repository.credentials.delete_all_but(connection, instance.instance_id, kept=check.credential_id)
    await transitions.change(
        connection,
        context,
        instance,
        state=next_state(instance.state, Event.CONNECT),
        credential_id=check.credential_id,
        address=check.address,
        identifier_hint=check.identifier_hint,
        credentials_updated_at=check.started_at,
        whmcs_version=check.whmcs_version,
        attention_code=None,
        attention_message=None,
    )
    return instance.state is InstanceState.DRAFT


async def end_unanswered_checks(context: Context) -> None:
    """End checks without an answer as failed. An answer that comes later replaces that end."""
    now = context.clock()
    async with transaction(context.engine, role=SYSTEM) as connection:
        unanswered = await repository.checks.unanswered_outside(
            connection, now - _ANSWER_LIFE, now + _ANSWER_LIFE
        )
    for organization_id, instance_id, check_id in unanswered:
        async with transaction(context.engine, organization_id) as connection:
            await repository.instances.lock(connection, instance_id)
            await repository.checks.end(connection, check_id, _UNANSWERED)
