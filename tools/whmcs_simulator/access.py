"""Access to the API: credentials, the actions of their roles, allowed addresses and the access key."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from tools.whmcs_simulator.parameters import is_empty


@dataclass(slots=True)
class Credential:
    identifier: str
    secret: str
    actions: frozenset[str] | None = None
    """Lower-case names of the allowed actions; None allows all."""
    allowed_ips: frozenset[str] | None = None
    state: Literal["enabled", "disabled"] = "enabled"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The HTTP status and WHMCS's text for a call that is refused."""

    status: int
    message: str


@dataclass(slots=True)
class Access:
    """The credentials of one company. The first may call every action, from every address."""

    seed: int
    credentials: dict[str, Credential] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.add()

    @property
    def access_key(self) -> str:
        return _derived(self.seed, "access key")[:24]

    def add(
        self, actions: Iterable[str] | None = None, allowed_ips: Iterable[str] | None = None
    ) -> Credential:
        """Add a credential and return it. Without `actions` it may call all, without `allowed_ips` from everywhere."""
        number = len(self.credentials)
        while (identifier := _derived(self.seed, f"identifier {number}")[:32]) in self.credentials:
            number += 1
        credential = Credential(
            identifier=identifier,
            secret=_derived(self.seed, f"secret {number}")[:32],
            actions=None if actions is None else frozenset(action.lower() for action in actions),
            allowed_ips=None if allowed_ips is None else frozenset(allowed_ips),
        )
        self.credentials[identifier] = credential
        return credential

    @property
    def main(self) -> Credential:
        return next(iter(self.credentials.values()))

    def refuses(self, parameters: dict[str, str], address: str) -> Refusal | None:
        """Return why credentials or address are refused; None when they are good. `forbids` checks the action."""
        # Texts and statuses: tests/contract/whmcs/errors.json names the source of each. inferred: the order of the checks.
        identifier, secret = _pair(parameters)
        if is_empty(identifier) or is_empty(secret):
            return Refusal(403, "Authentication Failed")
        credential = self.credentials.get(identifier)
        if credential is None:
            return Refusal(403, "Invalid or missing credentials")
        if credential.secret != secret:
            return Refusal(403, "Authentication Failed")
        if credential.state == "disabled":
            return Refusal(403, "Administrator Account Disabled")
        # WHMCS developer docs, access control: the access key replaces an allowed address.
        has_key = parameters.get("accesskey") == self.access_key
        if credential.allowed_ips is not None and address not in credential.allowed_ips and not has_key:
            return Refusal(403, f"Invalid IP {address}")
        return None

    def forbids(self, parameters: dict[str, str], action: str) -> bool:
        """Return whether the role of an accepted credential lacks this action."""
        actions = self.credentials[_pair(parameters)[0]].actions
        return actions is not None and action.lower() not in actions


def _pair(parameters: dict[str, str]) -> tuple[str, str]:
    """Return identifier and secret. The older names of both work, too (WHMCS developer docs, authentication)."""
    identifier, secret = (
        parameters.get(old, "") if is_empty(parameters.get(new)) else parameters[new]
        for new, old in (("identifier", "username"), ("secret", "password"))
    )
    return identifier, secret


def _derived(seed: int, purpose: str) -> str:
    return hashlib.sha256(f"whmcs simulator {seed} {purpose}".encode()).hexdigest()
