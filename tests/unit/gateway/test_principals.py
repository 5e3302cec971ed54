"""Roles, and the organization in which a caller may connect a WHMCS."""

from dataclasses import replace
from itertools import pairwise
from uuid import UUID

from services.gateway.principals import ANYONE, ROLES, SCOPES, Organization, as_owner

OWN = Organization(UUID(int=1), "nimbus", "Nimbus", is_demo=False)
DEMO = Organization(UUID(int=2), "demo", "Demo", is_demo=True)
OWNER = as_owner(UUID(int=3), "owner@example.com", OWN.id, OWN.name)


def test_role_includes_the_role_below() -> None:
    assert all(lower < higher for lower, higher in pairwise(ROLES.values()))
    assert ROLES["viewer"] >= ANYONE


def test_scopes_are_permissions_of_the_owner() -> None:
    assert set(SCOPES) <= ROLES["owner"]


def test_whmcs_is_connected_outside_the_demo() -> None:
    in_own = replace(OWNER, organization=OWN, organizations=(OWN, DEMO))
    in_demo = replace(OWNER, organization=DEMO, organizations=(DEMO, OWN))

    assert in_own.real_organization == OWN
    assert in_demo.real_organization == OWN
    assert replace(in_demo, organizations=(DEMO,)).real_organization is None
