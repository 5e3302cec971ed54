"""Texts and examples of the description of the API: of every field, parameter, operation and refusal.

One file because a schema appears in several resources, and one sentence describes its field in all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from libs.common.figures.catalogue import BY_SLUG

_ORGANIZATION: Final = "0d7f9a52-9d2c-4c2e-8a35-3f0f5f0c9a11"
_INSTANCE: Final = "7c0a3b1e-52f1-4a4b-9d3f-2d1c8a1f6b22"
_CHECK: Final = "e3b5a1c4-0f6d-4b7e-8c9a-5a4d3c2b1a33"
_SYNC: Final = "5f1d2c3b-4a59-4687-9786-a5b4c3d2e144"
_RUN: Final = "9a8b7c6d-5e4f-4031-8213-24354657a855"
_KEY_ID: Final = "2b3c4d5e-6f70-4182-93a4-b5c6d7e8f966"
# Callers must not read cursors; this one has their form.
_CURSOR: Final = "WyIyMDI2LTExLTIzVDA2OjE1OjAwKzAwOjAwIl0"


@dataclass(frozen=True, slots=True)
class Operation:
    """Examples of an operation: its answer (None when it has no body), its request, and the codes of its refusals."""

    answer: Any = None
    request: Any = None
    refusals: tuple[str, ...] = ()


_REPORTING: Final = {
    "reporting_currency": "EUR",
    "is_chosen": True,
    "currencies": ["EUR", "USD"],
    "rates": [
        {"instance_name": "Main", "currency": "EUR", "rate": "1.000000", "seen_on": "2026-11-01"},
        {"instance_name": "Main", "currency": "USD", "rate": "1.080000", "seen_on": "2026-11-23"},
    ],
}


_DEFINITIONS: Final = {
    "definitions": {
        "service_grace_days": 30,
        "addon_grace_days": 14,
        "domain_grace_days": 14,
        "domains_count": True,
    },
    "instances": [
        {
            "instance_id": _INSTANCE,
            "name": "Main",
            "overrides": {
                "service_grace_days": 45,
                "addon_grace_days": None,
                "domain_grace_days": None,
            },
            "is_redefined": True,
        }
    ],
}


_PREVIEW: Final = {
    "id": "3c4d5e6f-7081-4293-a4b5-c6d7e8f90a77",
    "definitions": _DEFINITIONS["definitions"],
    "overrides": {},
    "waiting": [],
    "months": [
        {
            "on": "2026-10-31",
            "currency": "EUR",
            "mrr_before": "1200.000000",
            "mrr_after": "1250.000000",
            "mrr_change": "50.000000",
            "customers_before": 80,
            "customers_after": 84,
            "customers_change": 4,
            "churned_mrr_before": "-90.000000",
            "churned_mrr_after": "-40.000000",
            "churned_mrr_change": "50.000000",
        }
    ],
}


# Status and sentence by code, as a caller reads them.
REFUSALS: Final[Mapping[str, tuple[int, str]]] = {
    "json_invalid": (400, "The body is not valid JSON. Look at line 1, column 9."),
    "not_signed_in": (401, "Sign in, or send a token: Authorization: Bearer mrr_pat_…"),
    "token_invalid": (
        401,
        "This token is unknown, expired or revoked. Create one under Settings > API tokens.",
    ),
    "scope_missing": (403, "This needs the permission sync:trigger, which this token does not have."),
    "organization_not_found": (
        404,
        "There is no such organization, or you are not a member of it. Ask its owner to add you.",
    ),
    "preview_not_found": (
        404,
        "Nobody asked for a preview, or its definitions are applied. Ask for one.",
    ),
    "instance_not_found": (404, "There is no such instance in this organization. Choose one from the list."),
    "check_not_found": (
        404,
        "There is no such connection test in this organization. Test the instance again.",
    ),
    "sync_not_found": (
        404,
        "There is no such sync in this organization. Choose one from the list of its instance.",
    ),
    "token_not_found": (404, "There is no such token in this organization, or it is revoked already."),
    "metric_unknown": (
        404,
        f"There is no metric mmr. Choose one of {', '.join(BY_SLUG)}.",
    ),
    "address_taken": (
        409,
        "https://billing.example.com is connected already. Change that instance instead.",
    ),
    "demo_organization": (
        409,
        "This organization holds sample data. Add your WHMCS to your own organization.",
    ),
    "instance_paused": (409, "This instance is paused. Resume it first, then sync it."),
    "instance_deleting": (409, "This instance is being deleted. Choose another one."),
    "not_connected": (
        409,
        "This instance is not connected yet. Correct what failed in its connection test first.",
    ),
    "kind_not_skipped": (409, "This sync read that list. Choose one that it skipped."),
    "review_outdated": (
        409,
        "These deletions no longer wait for a decision, or their number has changed. Look at the instance again.",
    ),
    "idempotency_key_reused": (409, "This Idempotency-Key was used with another body. Use a new key."),
    "too_large": (413, "The body may have at most 64 KiB here. Send less."),
    "not_json": (415, "Send JSON, with Content-Type: application/json."),
    "parameter_unknown": (
        422,
        "There is no parameter 'page'. Choose one of cursor, limit, organization.",
    ),
    "input_invalid": (422, "name is missing."),
    "cursor_invalid": (422, "Use the cursor from `next` of the page before."),
    "url_scheme": (422, "The address must begin with https://."),
    "credentials_required": (422, "Enter the API identifier and the API secret."),
    "credentials_rejected": (
        422,
        "WHMCS refused the identifier or secret. Create new API credentials and enter both.",
    ),
    "group_unknown": (422, "Group by any of kind, product, cycle, currency, instance."),
    "filter_unknown": (
        422,
        "No subscription has the country XX. Choose a value that group_by=country shows, or leave this filter out.",
    ),
    "filter_unavailable": (
        422,
        "Customer churn rate cannot be limited by kind. Use any of currency, instance.",
    ),
    "among_invalid": (
        422,
        "Write each `among` as filters joined by &, such as country=PT&kind=service, and escape it: "
        "among=country%3DPT%26kind%3Dservice. Filters are kind, product, cycle, currency, instance.",
    ),
    "currency_unknown": (
        422,
        "No rate is known to convert amounts into this currency. Use any of EUR, JPY, or currency=native, which converts nothing. "
        "Rates come from WHMCS: its API role must allow GetCurrencies.",
    ),
    "range_invalid": (422, "The range starts after its end, 2026-11-01. Choose an earlier start."),
    "answer_too_large": (
        422,
        "An answer has at most 50,000 values. This would be 3,650 points x 1,200 groups. "
        "Choose a longer interval, a shorter range, fewer groups, or one instance.",
    ),
    "scopes_invalid": (
        422,
        "Your role does not have instances:write, so the token cannot have it. Choose other scopes.",
    ),
    "too_many_requests": (
        429,
        "You sent more than 600 requests in a minute. Wait a little, then send fewer.",
    ),
    "too_many_checks": (429, "You started too many connection tests. Try again in a minute."),
    "too_many_streams": (
        429,
        "6 live connections are open already. Close one, or ask for the state instead.",
    ),
    "unavailable": (503, "The database cannot be reached right now. Try again in a moment."),
}
# Refusals of all operations; BODY are those of operations with a body.
COMMON: Final = ("not_signed_in", "token_invalid", "scope_missing", "organization_not_found")
LIMITED: Final = ("parameter_unknown", "too_many_requests", "unavailable")
BODY: Final = ("json_invalid", "too_large", "not_json", "input_invalid")

_CHECKLIST: Final = {
    "check_id": _CHECK,
    "started_at": "2026-11-29T11:30:00Z",
    "is_new_credential": False,
    "complete": True,
    "checks": [
        {
            "name": "credentials",
            "state": "ok",
            "code": None,
            "message": "WHMCS accepts the identifier and secret.",
            "action": None,
            "detail": None,
        },
        {
            "name": "permission",
            "state": "warning",
            "code": "permission_missing",
            "message": "The API role lacks GetPromotions. Tick it in Manage API Credentials → API Roles.",
            "action": "GetPromotions",
            "detail": 'Invalid Permissions: API action "getpromotions" is not allowed',
        },
    ],
    "seen_address": "203.0.113.7",
    "estimate": {"rows": 4600, "minutes": 1},
}
_INSTANCE_ANSWER: Final = {
    "id": _INSTANCE,
    "name": "Main",
    "address": "https://billing.example.com",
    "created_at": "2026-11-01T09:00:00Z",
    "state": "active",
    "shown_state": "healthy",
    "has_credentials": True,
    "identifier_hint": "9f3c",
    "credentials_updated_at": "2026-11-01T09:00:00Z",
    "time_zone": "Europe/Lisbon",
    "requests_per_second": None,
    "prices_include_tax": False,
    "history_start": None,
    "whmcs_version": "8.13.1",
    "as_of": "2026-11-23T06:15:00Z",
    "last_sync_at": "2026-11-23T06:16:10Z",
    "last_sync": {
        "id": _SYNC,
        "state": "succeeded",
        "ended_at": "2026-11-23T06:16:10Z",
        "code": None,
        "message": None,
    },
    "sync_under_way": None,
    "next_sync_at": "2026-11-23T06:30:00Z",
    "next_check_at": None,
    "attention": None,
    "missing_actions": ["GetPromotions"],
    "warnings": [],
    "skipped": [
        {
            "sync_id": _SYNC,
            "kind": "promotion",
            "action": "GetPromotions",
            "code": "permission_missing",
            "required": False,
        }
    ],
    "held": {"service": {"sync_id": _SYNC, "count": 312, "total": 1020, "reason": "ids_went_down"}},
    "unreadable": {"invoice": {"sync_id": _SYNC, "count": 2}},
    "same_as": [],
    "details": {
        "kinds": {"invoice_lines": {"rows": 12300, "expected": 118000}},
        "minutes_left": 130,
        "reported_at": "2026-11-23T06:20:00Z",
    },
    "check": _CHECKLIST,
}
_SYNC_ANSWER: Final[Mapping[str, Any]] = {
    "id": _SYNC,
    "instance_id": _INSTANCE,
    "instance_name": "Main",
    "run_id": _RUN,
    "state": "running",
    "mode": "full",
    "trigger": "manual",
    "requested_at": "2026-11-23T06:15:00Z",
    "requested_by": "owner@example.com",
    "started_at": "2026-11-23T06:15:02Z",
    "ended_at": None,
    "heard_at": "2026-11-23T06:15:20Z",
    "progress": {
        "customer": {"rows": 500, "expected": 500},
        "service": {"rows": 518, "expected": 2100},
    },
    "per_cent": 39,
    "expected_rows": 2600,
    "counts": None,
    "changes": None,
    "skipped": [],
    "kinds": [],
    "accept_deletions": {},
    "accepted": [],
    "whole": [],
    "unreadable": {},
    "warnings": {},
    "held": {},
    "code": None,
    "message": None,
    "applied": False,
    "mrr_change": None,
    "mrr_change_reason": "not_ended",
}
_STARTED_ANSWER: Final = {
    **_SYNC_ANSWER,
    "state": "queued",
    "started_at": None,
    "progress": {},
    "per_cent": 0,
    "expected_rows": None,
}
_RESTATEMENT: Final = {
    "number": 12,
    "instance_id": _INSTANCE,
    "at": "2026-11-29T00:04:10Z",
    "cause": "late_evidence",
    "kind": "service",
    "currency": "EUR",
    "from_on": "2026-10-21",
    "to_on": "2026-11-21",
    "change": "-9.990000",
    "mrr_before": "18240.000000",
    "mrr_after": "18230.010000",
}
_TOKEN_ANSWER: Final = {
    "id": _KEY_ID,
    "name": "Reporting",
    "prefix": "mrr_pat_4fZk",
    "created_by": "owner@example.com",
    "scopes": ["metrics:read"],
    "created_at": "2026-11-01T09:00:00Z",
    "expires_at": "2027-01-30T09:00:00Z",
    "last_used_at": "2026-11-23T06:15:00Z",
}

OPERATIONS: Final[Mapping[str, Operation]] = {
    "GET /me": Operation(
        {
            "email": "owner@example.com",
            "organization": {"id": _ORGANIZATION, "slug": "nimbus", "name": "Nimbus", "is_demo": False},
            "role": "owner",
            "permissions": ["instances:read", "metrics:read", "self:read"],
        }
    ),
    "GET /organization": Operation(_REPORTING),
    "PATCH /organization": Operation(
        _REPORTING, request={"reporting_currency": "EUR"}, refusals=("currency_unknown",)
    ),
    "GET /definitions": Operation(_DEFINITIONS),
    "PUT /definitions": Operation(
        _DEFINITIONS,
        request={
            "service_grace_days": 30,
            "addon_grace_days": 14,
            "domain_grace_days": 14,
            "domains_count": True,
            "instances": [{"instance_id": _INSTANCE, "service_grace_days": 45}],
        },
        refusals=("instance_not_found",),
    ),
    "POST /definitions/preview": Operation(
        {**_PREVIEW, "waiting": ["Main"], "months": []},
        request={
            "service_grace_days": 30,
            "addon_grace_days": 14,
            "domain_grace_days": 14,
            "domains_count": True,
        },
        refusals=("instance_not_found",),
    ),
    "GET /definitions/preview": Operation(_PREVIEW, refusals=("preview_not_found",)),
    "GET /audit": Operation(
        {
            "items": [
                {
                    "id": 42,
                    "at": "2026-11-23T06:15:00Z",
                    "actor": "owner@example.com",
                    "action": "sync.asked",
                    "target": _INSTANCE,
                    "result": "ok",
                    "address": "203.0.113.20",
                    "request_id": "0f2d6d0b1c5e4d6fa8f0c3b2a1908070",
                }
            ],
            "next": _CURSOR,
        },
        refusals=("cursor_invalid",),
    ),
    "GET /instances": Operation({"items": [_INSTANCE_ANSWER], "next": None}, refusals=("cursor_invalid",)),
    "POST /instances": Operation(
        _INSTANCE_ANSWER,
        {
            "name": "Main",
            "url": "https://billing.example.com",
            "identifier": "the API identifier",
            "secret": "the API secret",
            "time_zone": "Europe/Lisbon",
        },
        (
            "address_taken",
            "demo_organization",
            "idempotency_key_reused",
            "url_scheme",
            "credentials_required",
            "credentials_rejected",
            "too_many_checks",
        ),
    ),
    "GET /instances/{instance_id}": Operation(_INSTANCE_ANSWER, refusals=("instance_not_found",)),
    "PATCH /instances/{instance_id}": Operation(
        _INSTANCE_ANSWER,
        {"name": "Main billing", "requests_per_second": 2, "prices_include_tax": True},
        (
            "instance_not_found",
            "address_taken",
            "demo_organization",
            "instance_deleting",
            "not_connected",
            "credentials_required",
            "credentials_rejected",
            "too_many_checks",
        ),
    ),
    "DELETE /instances/{instance_id}": Operation(refusals=("instance_not_found",)),
    "POST /instances/{instance_id}/checks": Operation(
        _INSTANCE_ANSWER,
        refusals=(
            "instance_not_found",
            "instance_deleting",
            "credentials_required",
            "credentials_rejected",
            "too_many_checks",
        ),
    ),
    "GET /instances/{instance_id}/checks/{check_id}": Operation(_CHECKLIST, refusals=("check_not_found",)),
    "POST /instances/{instance_id}/syncs": Operation(
        _STARTED_ANSWER,
        {"mode": "full"},
        (
            "instance_not_found",
            "instance_paused",
            "instance_deleting",
            "idempotency_key_reused",
        ),
    ),
    "GET /instances/{instance_id}/syncs": Operation(
        {"items": [_SYNC_ANSWER], "next": _CURSOR}, refusals=("instance_not_found", "cursor_invalid")
    ),
    "GET /syncs/{sync_id}": Operation(_SYNC_ANSWER, refusals=("sync_not_found",)),
    "POST /syncs/{sync_id}/retry": Operation(
        {**_STARTED_ANSWER, "kinds": ["addon"]},
        {"kind": "addon"},
        (
            "sync_not_found",
            "kind_not_skipped",
            "instance_paused",
            "instance_deleting",
            "idempotency_key_reused",
        ),
    ),
    "POST /syncs/{sync_id}/accept": Operation(
        {
            **_STARTED_ANSWER,
            "kinds": ["service"],
            "accept_deletions": {"service": 312},
            "accepted": [{"kind": "service", "id": 17, "name": "Hosting, Ada Lovelace"}],
        },
        {"kind": "service"},
        (
            "sync_not_found",
            "review_outdated",
            "instance_paused",
            "instance_deleting",
            "idempotency_key_reused",
        ),
    ),
    "POST /syncs/{sync_id}/cancel": Operation(refusals=("sync_not_found",)),
    "GET /syncs/{sync_id}/events": Operation(
        f'id: 42\nevent: SyncStarted\ndata: {{"run_id": "{_RUN}", "mode": "full", '
        '"started_at": "2026-11-23T06:15:02Z"}\n\n',
        refusals=("sync_not_found", "too_many_streams"),
    ),
    "GET /metrics": Operation(
        {
            "metrics": [
                {
                    "slug": "mrr",
                    "title": "MRR",
                    "unit": "money",
                    "good": "up",
                    "additive": True,
                    "description": "Monthly recurring revenue of all live subscriptions.",
                    "groups": ["kind", "product", "cycle", "currency", "instance"],
                    "filters": ["kind", "product", "cycle", "currency", "instance"],
                    "lenses": ["contract", "active", "status", "paid"],
                }
            ]
        }
    ),
    "GET /metrics/{slug}": Operation(
        {
            "metric": "mrr",
            "unit": "money",
            "interval": "day",
            "currency": "native",
            "lens": "contract",
            "as_of": "2026-11-23T06:15:00Z",
            "additive": True,
            "series": [
                {
                    "group": {"kind": "service", "currency": "EUR"},
                    "names": {},
                    "points": [
                        {"on": "2026-11-23", "value": "1234.560000", "reason": None, "complete": False}
                    ],
                }
            ],
            "notes": ["Figures begin on 2026-11-23. Earlier days are not known."],
            "compared": None,
            "fx": None,
        },
        refusals=(
            "metric_unknown",
            "instance_not_found",
            "currency_unknown",
            "among_invalid",
            "filter_unknown",
            "filter_unavailable",
            "group_unknown",
            "range_invalid",
            "answer_too_large",
        ),
    ),
    "GET /metrics/cohorts": Operation(
        {
            "metric": "cohorts",
            "lens": "contract",
            "as_of": "2026-11-23T06:15:00Z",
            "cohorts": [
                {
                    "group": {"currency": "EUR"},
                    "month": "2026-10-01",
                    "is_earlier": False,
                    "joined": 13,
                    "size": 12,
                    "mrr": "240.000000",
                    "cells": [
                        {
                            "months_after": 0,
                            "on": "2026-10-31",
                            "customers": 12,
                            "gross_mrr": "240.000000",
                            "net_mrr": "240.000000",
                            "customers_retained": "1.000000",
                            "gross_mrr_retained": "1.000000",
                            "net_mrr_retained": "1.000000",
                            "reason": None,
                            "complete": True,
                        }
                    ],
                }
            ],
            "averages": [
                {
                    "group": {"currency": "EUR"},
                    "cells": [
                        {
                            "months_after": 0,
                            "cohorts": 1,
                            "customers_retained": "1.000000",
                            "gross_mrr_retained": "1.000000",
                            "net_mrr_retained": "1.000000",
                        }
                    ],
                }
            ],
            "notes": [],
        },
        refusals=("instance_not_found", "filter_unknown", "filter_unavailable"),
    ),
    "GET /cohort-customers": Operation(
        {
            "items": [
                {
                    "id": f"{_INSTANCE}:customer:77",
                    "instance_id": _INSTANCE,
                    "customer_id": 77,
                    "currency": "EUR",
                    "first_on": "2026-10-12",
                    "mrr_at_start": "19.950000",
                    "mrr": "27.450000",
                }
            ],
            "next": _CURSOR,
        },
        refusals=(
            "instance_not_found",
            "cursor_invalid",
            "filter_unknown",
            "filter_unavailable",
            "range_invalid",
        ),
    ),
    "GET /explain/{slug}": Operation(
        {
            "metric": "arpa",
            "title": "ARPA",
            "unit": "money",
            "version": 1,
            "words": "Average MRR per customer.",
            "formula": "mrr / customers",
            "start": "2026-11-23",
            "on": "2026-11-23",
            "as_of": "2026-11-23T06:15:00Z",
            "settings": [
                {
                    "name": "lens",
                    "value": "contract",
                    "words": "A subscription counts when it is paid, or up to 14 days overdue.",
                }
            ],
            "values": [
                {
                    "group": {"currency": "EUR"},
                    "names": {},
                    "value": "30.000000",
                    "reason": None,
                    "complete": False,
                    "operands": [
                        {
                            "name": "mrr",
                            "title": "MRR",
                            "unit": "money",
                            "value": "1260.000000",
                            "list": "/api/v1/subscriptions?on=2026-11-23&lens=contract&filter%5Bcurrency%5D=EUR",
                        },
                        {
                            "name": "customers",
                            "title": "Customers",
                            "unit": "count",
                            "value": 42,
                            "list": "/api/v1/customers?on=2026-11-23&lens=contract&filter%5Bcurrency%5D=EUR",
                        },
                    ],
                }
            ],
            "omitted": [
                {
                    "kind": "service",
                    "reason": "cycle_unknown",
                    "count": 2,
                    "words": "MRRlytics does not know the billing cycle. Correct it in WHMCS.",
                }
            ],
            "restated": [_RESTATEMENT],
            "notes": [],
            "sources": [
                {
                    "instance_id": _INSTANCE,
                    "instance_name": "Main",
                    "time_zone": "Europe/Lisbon",
                    "kind": "service",
                    "first_on": "2026-11-01",
                    "last_on": "2026-11-23",
                    "closed_before": "2026-11-23",
                    "read_at": "2026-11-23T06:15:04Z",
                    "action": None,
                    "code": None,
                }
            ],
            "question": {
                "address": "/api/v1/metrics/arpa?start=2026-11-23&end=2026-11-23&lens=contract",
                "curl": 'curl --header "Authorization: Bearer $MRRLYTICS_TOKEN" '
                '"https://mrr.example.com/api/v1/metrics/arpa?start=2026-11-23&end=2026-11-23&lens=contract"',
                "sql": "WITH live AS (…) SELECT currency, mrr / customers AS arpa FROM operands;",
            },
            "currency": None,
            "rates": [],
        },
        refusals=(
            "metric_unknown",
            "instance_not_found",
            "currency_unknown",
            "filter_unknown",
            "filter_unavailable",
            "group_unknown",
            "range_invalid",
            "answer_too_large",
        ),
    ),
    "GET /filters": Operation(
        {
            "on": "2026-11-23",
            "lens": "contract",
            "filters": [
                {
                    "group": "product",
                    "values": [
                        {"value": f"{_INSTANCE}:service:4", "name": "Business hosting", "subscriptions": 412}
                    ],
                    "others": 0,
                }
            ],
        },
        refusals=("instance_not_found",),
    ),
    "GET /subscriptions": Operation(
        {
            "items": [
                {
                    "id": f"{_INSTANCE}:service:2041",
                    "instance_id": _INSTANCE,
                    "kind": "service",
                    "customer_id": 77,
                    "product": f"{_INSTANCE}:service:4",
                    "product_name": "Business hosting",
                    "cycle": "annually",
                    "status": "active",
                    "currency": "EUR",
                    "mrr": "12.500000",
                    "from_on": "2026-10-02",
                    "to_on": None,
                }
            ],
            "next": _CURSOR,
        },
        refusals=("currency_unknown", "instance_not_found", "cursor_invalid", "filter_unknown"),
    ),
    "GET /customers": Operation(
        {
            "items": [
                {
                    "id": f"{_INSTANCE}:customer:77",
                    "instance_id": _INSTANCE,
                    "customer_id": 77,
                    "currency": "EUR",
                    "mrr": "19.950000",
                    "subscriptions": 2,
                }
            ],
            "next": _CURSOR,
        },
        refusals=("currency_unknown", "instance_not_found", "cursor_invalid", "filter_unknown"),
    ),
    "GET /customer-changes": Operation(
        {
            "items": [
                {
                    "id": f"{_INSTANCE}:customer:77",
                    "instance_id": _INSTANCE,
                    "customer_id": 77,
                    "currency": "EUR",
                    "mrr_at_start": "19.950000",
                    "mrr_at_end": "12.500000",
                    "subscriptions_at_start": 2,
                    "subscriptions_at_end": 1,
                }
            ],
            "next": _CURSOR,
        },
        refusals=(
            "currency_unknown",
            "instance_not_found",
            "cursor_invalid",
            "range_invalid",
            "filter_unknown",
        ),
    ),
    "GET /movements": Operation(
        {
            "items": [
                {
                    "id": f"{_INSTANCE}:service:2041",
                    "instance_id": _INSTANCE,
                    "customer_id": 77,
                    "on": "2026-11-12",
                    "number": 1,
                    "kind": "service",
                    "movement": "expansion",
                    "reason": "upgrade",
                    "amount": "7.500000",
                    "currency": "EUR",
                    "product": f"{_INSTANCE}:service:4",
                    "from_product": f"{_INSTANCE}:service:3",
                    "to_product": f"{_INSTANCE}:service:4",
                    "cycle": "annually",
                    "days_away": None,
                    "basis": "observed",
                }
            ],
            "next": _CURSOR,
        },
        refusals=(
            "currency_unknown",
            "instance_not_found",
            "cursor_invalid",
            "range_invalid",
            "filter_unknown",
        ),
    ),
    "GET /issues": Operation(
        {
            "items": [
                {
                    "id": f"{_INSTANCE}:service:2041",
                    "instance_id": _INSTANCE,
                    "kind": "service",
                    "number": 2041,
                    "customer_id": 77,
                    "reason": "cycle_unknown",
                    "words": "MRRlytics does not know the billing cycle. Correct it in WHMCS.",
                }
            ],
            "next": _CURSOR,
        },
        refusals=("instance_not_found", "cursor_invalid"),
    ),
    "GET /restatements": Operation(
        {
            "items": [_RESTATEMENT],
            "next": _CURSOR,
        },
        refusals=("instance_not_found", "cursor_invalid", "range_invalid", "filter_unknown"),
    ),
    "GET /gaps": Operation(
        {
            "items": [
                {
                    "id": f"{_INSTANCE}:service:2041",
                    "instance_id": _INSTANCE,
                    "kind": "service",
                    "number": 1,
                    "customer_id": 77,
                    "part": "introductory_discount",
                    "product": f"{_INSTANCE}:service:3",
                    "product_name": "Web Plus",
                    "cycle": "monthly",
                    "currency": "EUR",
                    "contract_mrr": "9.990000",
                    "paid_mrr": "4.990000",
                    "gap": "5.000000",
                    "from_on": "2026-11-01",
                    "to_on": None,
                }
            ],
            "next": _CURSOR,
        },
        refusals=("instance_not_found", "cursor_invalid", "filter_unknown"),
    ),
    "GET /expected-ends": Operation(
        {
            "items": [
                {
                    "id": f"{_INSTANCE}:service:2041",
                    "instance_id": _INSTANCE,
                    "kind": "service",
                    "customer_id": 77,
                    "product": f"{_INSTANCE}:service:4",
                    "product_name": "Business hosting",
                    "cycle": "annually",
                    "status": "active",
                    "currency": "EUR",
                    "mrr": "12.500000",
                    "due_on": "2026-11-18",
                    "days_overdue": 5,
                    "ends_on": "2026-12-03",
                    "is_requested": False,
                }
            ],
            "next": _CURSOR,
        },
        refusals=("instance_not_found", "cursor_invalid", "filter_unknown"),
    ),
    "GET /tokens": Operation({"items": [_TOKEN_ANSWER], "next": None}, refusals=("cursor_invalid",)),
    "POST /tokens": Operation(
        {"token": _TOKEN_ANSWER, "secret": "mrr_pat_4fZk…"},
        {"name": "Reporting", "scopes": ["metrics:read"], "days": 90},
        ("scopes_invalid",),
    ),
    "DELETE /tokens/{token_id}": Operation(refusals=("token_not_found",)),
}

PARAMETERS: Final[Mapping[str, str]] = {
    "instance_id": "The id of the instance.",
    "check_id": "The id of the check, from `check.check_id` of its instance or from Location.",
    "sync_id": "The id of the sync, from Location or from the list of syncs.",
    "token_id": "The id of the token.",
    "slug": "The metric, one of those that `GET /api/v1/metrics` lists.",
    "Idempotency-Key": "Any text, new for each request. A request that is sent again with it within a day is carried out once.",
    "Last-Event-ID": "The id of the last event that you received; the answer continues after it.",
}

_PAGE: Final = {
    "items": "The items of this page.",
    "next": "The `cursor` of the next page; null on the last.",
}
_CODE: Final = (
    "A stable code of what was wrong, such as `read_timeout` (docs/whmcs.md); null when nothing was wrong."
)
_FORM: Final = {
    "name": "Its name for people, 1 to 100 characters.",
    "url": "The WHMCS System URL; the address of one of its pages is shortened to it.",
    "identifier": "The API identifier, from Manage API Credentials in WHMCS.",
    "secret": "The API secret that belongs to the identifier. It is stored encrypted and never shown again.",
    "access_key": "The API access key, where WHMCS asks for one. It is stored encrypted and never shown again.",
    "time_zone": "Such as Europe/Lisbon; the days of the figures are its days. Without it UTC.",
    "requests_per_second": "The most requests a second, 0.1 to 100; null lets us choose a pace that suits your WHMCS.",
    "prices_include_tax": "Whether the prices in WHMCS include tax, which is then taken out of MRR. Without it they do not.",
    "history_start": "The first day whose figures are shown; null shows the days from the first invoice on.",
}
_OF_INSTANCE: Final = {"instance_id": "The instance."}
_GRACES: Final = {
    f"{kind}_grace_days": f"How many days after its due date an unpaid {kind} still counts by `contract`: 0 to 90."
    for kind in ("service", "addon", "domain")
}
_OVERRIDES: Final = {name: f"{words} Null: that of the organization." for name, words in _GRACES.items()}

FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "Attention": {
        "code": "A stable code of what is wrong (docs/whmcs.md).",
        "message": "What is wrong and what to do, for people.",
    },
    "AuditEntry": {
        "id": "The id of the line; it grows with time.",
        "at": "When it happened.",
        "actor": "The e-mail address of the person who did it, or `token` and the name of the token.",
        "action": "What was done, such as `instance.added`.",
        "target": "The id of the instance, sync or token that it was done to; null when there is none.",
        "result": "`ok` or `refused`.",
        "address": "The network address of the caller.",
        "request_id": "The id of the request, as in its answer and in the log.",
    },
    "Call": {
        "address": "The address of the figure.",
        "curl": "A line for a shell, with the token in the variable MRRLYTICS_TOKEN.",
        "sql": "Two statements over `metrics_read`: the first names the organization, the second gives the values, not rounded.",
    },
    "Average": {
        "months_after": "How many months after month 0.",
        "cohorts": "How many cohorts are in it: those whose cell is complete.",
        "customers_retained": "Their customers as a share of those of month 0; null without any. Large cohorts weigh more.",
        "gross_mrr_retained": "The same of gross MRR.",
        "net_mrr_retained": "The same of net MRR.",
    },
    "Averages": {"group": "The currency.", "cells": "The averages, by month."},
    "Catalogue": {"metrics": "Every metric."},
    "Cell": {
        "months_after": "How many months after month 0.",
        "on": "The day it holds for: the last of its month, or the newest.",
        "customers": "How many customers of the cohort have MRR.",
        "gross_mrr": "Their MRR, of each customer at most that of month 0.",
        "net_mrr": "All their MRR. The cells of a month sum to the MRR of the customers.",
        "customers_retained": "`customers` as a share of `size`; null if that is 0.",
        "gross_mrr_retained": "`gross_mrr` as a share of `mrr`.",
        "net_mrr_retained": "`net_mrr` as a share of `mrr`.",
        "reason": "`no_customers_at_start`: month 0 has no customers. `carried`: nothing newer is known.",
        "complete": "Whether it is final. Other cells are in no average.",
    },
    "Cohort": {
        "group": "The currency.",
        "month": "The first day of its month.",
        "is_earlier": "Whether its customers were there on the first known day, and may be older. Such a cohort is in no average.",
        "joined": "How many customers had their first MRR in the month.",
        "size": "How many of them have MRR at its end.",
        "mrr": "Their MRR then.",
        "cells": "What is left of them at the end of each month, beginning with its own.",
    },
    "CohortCustomer": {
        "id": "Its public id: instance, `customer` and its number in WHMCS.",
        "instance_id": "The id of the instance that it is a client of.",
        "customer_id": "Its number in WHMCS.",
        "currency": "The currency that it pays in.",
        "first_on": "The first day with MRR.",
        "mrr_at_start": "Its MRR at the end of month 0.",
        "mrr": "Its MRR at the end of the later month.",
    },
    "ChangedInstance": {
        **_FORM,
        "state": "`paused` stops scheduled syncs and ends a running one; `active` resumes them.",
    },
    "ChangedCustomer": {
        "id": "Its public id: instance, `customer` and its number in WHMCS.",
        "instance_id": "The id of the instance that it is a client of.",
        "customer_id": "Its number in WHMCS.",
        "currency": "The currency that it pays in.",
        "mrr_at_start": "The sum of the MRR of its subscriptions on the day before the period, less its discounts.",
        "mrr_at_end": "The same on the last day of the period.",
        "subscriptions_at_start": "How many of its subscriptions counted on the day before the period.",
        "subscriptions_at_end": "How many count on the last day of the period.",
    },
    "Check": {
        "name": "What was checked, such as `credentials` or `permission`.",
        "state": "`ok`; `warning`: the connection works, but some figures are missing; `failed`: the connection does not work.",
        "code": _CODE,
        "message": "The result for people, and what to do.",
        "action": "The WHMCS action that was checked; null when the check is about no action.",
        "detail": "What WHMCS or the network said, at most 200 characters; null when nothing, and for callers without instances:write.",
    },
    "CheckProgress": {
        "check_id": "The id of the check.",
        "started_at": "When the check was started.",
        "is_new_credential": "True when entered credentials are checked, false when the stored ones are tested again.",
        "complete": "Whether the check has ended.",
        "checks": "The results, in the order in which they came.",
        "seen_address": "The network address from which WHMCS saw our request, if WHMCS named it.",
        "estimate": "The size of a first sync; null until it is known.",
    },
    "Customer": {
        "id": "Its public id: instance, `customer` and its number in WHMCS.",
        "instance_id": "The id of the instance that it is a client of.",
        "customer_id": "Its number in WHMCS.",
        "currency": "The currency that it pays in.",
        "mrr": "The sum of the MRR of its subscriptions, less its discounts.",
        "subscriptions": "How many of its subscriptions count.",
    },
    "Estimate": {
        "rows": "About how many records a first sync reads.",
        "minutes": "About how many minutes that takes.",
    },
    "ExplainedMetric": {
        "metric": "The metric that was asked for.",
        "title": "Its name for people.",
        "unit": "`money`, `count` or `ratio`.",
        "version": "The version of its definition; it grows when the definition changes.",
        "words": "What it means.",
        "formula": "How it is computed, with the names of the operands.",
        "start": "The first day of the period; for a metric of one day, that day.",
        "on": "The day that is explained, the last of the period.",
        "as_of": "The moment that the figures hold for: that of the least fresh instance; null before any sync.",
        "settings": "What decides which subscriptions count.",
        "values": "The value of each group on the day.",
        "omitted": "Subscriptions with a recurring amount that are not in every total, as of the newest sync.",
        "restated": "The newest changes of these days after they were closed, 20 at most; `GET /restatements` lists all.",
        "notes": "What a reader has to know, in plain words.",
        "sources": "How fresh the rows of each instance and kind are.",
        "question": "The same question for programs.",
        "currency": "The currency into which amounts are converted; null if they stay in their own.",
        "rates": "The rates of the day by which amounts are converted; empty if nothing is converted.",
    },
    "RateInForce": {
        "instance_id": "The instance of the amounts.",
        "instance_name": "Its name.",
        "currency": "The currency of the amounts.",
        "value": "What one unit of it is in the currency of the figure, with six places.",
        "since": "The day on which a sync saw the rate. The first rate also holds on earlier days.",
        "by": "The name of the instance whose rates are used: its own, or another that has both currencies.",
    },
    "Figure": {
        "metric": "The metric that was asked for.",
        "unit": "`money` and `ratio`: decimal strings with six places; `count`: integers.",
        "interval": "How far apart the points are.",
        "currency": "That of all amounts, or `native` if each is in its own.",
        "fx": "The rates of converted amounts: `daily` or `constant`; null if nothing is converted.",
        "lens": "What counts as live (docs/metrics.md).",
        "as_of": "The moment that the figures hold for: that of the least fresh instance; null before any sync.",
        "additive": "Whether the values of the groups sum to the total.",
        "series": "One series for each group.",
        "notes": "Notes for people: what is missing, since when, and what to do.",
        "compared": "The same for the earlier range of `compare`; null without it.",
    },
    "Compared": {
        "start": "The first day of the earlier range.",
        "end": "Its last day.",
        "series": "One series for each group of the earlier range.",
    },
    "GroupValue": {
        "group": "What the value is about, by group; empty for a total.",
        "names": "The names for people of its product, product group, promotion and instance, by group.",
        "value": "A decimal string for money and ratios, an integer for a count; null when it is not known.",
        "reason": "Why there is no value, or `carried`, as in figures.",
        "complete": "Whether it is final: a complete value no longer changes.",
        "operands": "The numbers in the formula.",
    },
    "Instance": {
        "id": "The id of the instance.",
        "name": "Its name for people.",
        "address": "The address of the WHMCS.",
        "created_at": "When it was added.",
        "state": "`draft`, `active`, `needs_attention`, `paused` or `deleting`.",
        "shown_state": "Its state as pages show it: `degraded` had no good sync for 30 minutes, `failing` needs attention.",
        "has_credentials": "Whether credentials are stored.",
        "identifier_hint": "The last four characters of the API identifier.",
        "credentials_updated_at": "When the credentials in use were entered.",
        "time_zone": "The time zone of the days of the figures.",
        "requests_per_second": "The most requests a second; null when we choose a pace that suits your WHMCS.",
        "prices_include_tax": "Whether the prices in WHMCS include tax, which is then taken out of MRR.",
        "history_start": "The first day whose figures are shown; null when that is the day of the first invoice.",
        "whmcs_version": "The version of WHMCS; null when WHMCS did not name it.",
        "as_of": "The moment of the figures; null before the first sync.",
        "last_sync_at": "When the newest good sync ended.",
        "last_sync": "The newest ended sync, good or not; null before the first.",
        "sync_under_way": "The id of the sync that runs or waits now; null when there is none.",
        "next_sync_at": "When the next scheduled sync begins; null while none is scheduled.",
        "next_check_at": "When it is tested again automatically, because it needs attention; null otherwise.",
        "attention": "Why syncs have stopped and what to do; null when they have not stopped.",
        "missing_actions": "WHMCS actions that the API role lacks.",
        "warnings": "Warnings of the newest check and of the syncs, for people.",
        "skipped": "Kinds that could not be read, and that no later sync has read. POST /syncs/{sync_id}/retry reads one again.",
        "held": "Records that are missing in WHMCS and wait for a person, by kind. POST /syncs/{sync_id}/accept removes them.",
        "unreadable": "Records that could not be read, by kind. The sync lists them.",
        "same_as": "The ids of other instances that read the same WHMCS. Figures over both count its customers twice.",
        "details": "How far the details are read that WHMCS gives one record at a time; null before the first.",
        "check": "The newest check; null before the first.",
    },
    "Details": {
        "kinds": "Records up to date and in total, by kind.",
        "minutes_left": "About how many minutes the rest takes; null while there is no estimate.",
        "reported_at": "When this was reported.",
    },
    "StillSkipped": {
        "sync_id": "The sync that could not read it.",
        "kind": "What could not be read.",
        "action": "The WHMCS action that would read it.",
        "code": "A stable code of why not (docs/whmcs.md).",
        "required": "Whether figures need it.",
    },
    "HeldKind": {
        "sync_id": "The sync that found them missing.",
        "count": "How many records are missing.",
        "total": "How many records of the kind there were.",
        "reason": "`too_many` at once, `list_empty`, or `ids_went_down` as after a restored backup.",
    },
    "HeldDeletions": {
        "count": "How many records are missing.",
        "total": "How many records of the kind there were.",
        "reason": "`too_many` at once, `list_empty`, or `ids_went_down` as after a restored backup.",
        "ids": "The numbers in WHMCS of the first 100; empty in a list of syncs.",
    },
    "UnreadableKind": {
        "sync_id": "The sync that lists them.",
        "count": "How many records.",
    },
    "UnreadableRows": {
        "count": "How many records.",
        "rows": "The first 1,000 of them; empty in a list of syncs.",
    },
    "UnreadableRow": {
        "id": "Its number in WHMCS; null when that could not be read.",
        "reason": "Why it could not be read, for people.",
    },
    "OneKind": {"kind": "The kind of record, such as `service`."},
    "KindProgress": {
        "rows": "Records read so far.",
        "expected": "Records in total; null until WHMCS has counted them.",
    },
    "LastSync": {
        "id": "The id of the sync.",
        "state": "`succeeded`, `partial`, `failed` or `cancelled`.",
        "ended_at": "When it ended.",
        "code": _CODE,
        "message": "What was wrong and what to do, for people; null when nothing was wrong.",
    },
    "MadeToken": {
        "token": "The token without its secret.",
        "secret": "The token itself. It is shown only in this answer and cannot be read again.",
    },
    "Reporting": {
        "reporting_currency": "The currency into which `currency=reporting` converts; null while no rates are known.",
        "is_chosen": "Whether the organization chose it. Else it is the default currency of the oldest instance.",
        "currencies": "All currencies with a rate.",
        "rates": "The newest rate of each currency of each instance.",
    },
    "NewestRate": {
        "instance_name": "The instance whose WHMCS has the rate.",
        "currency": "A currency of that WHMCS.",
        "rate": "An amount in the currency divided by it is in the default currency of the instance. Rounded to six places.",
        "seen_on": "The day on which a sync saw the rate.",
    },
    "DefinitionsInForce": {
        "definitions": "Those of the organization.",
        "instances": "What each connected instance has instead.",
    },
    "PreviewOfDefinitions": {
        "id": "The id of the preview. A newer one replaces it.",
        "definitions": "The definitions of the organization that are tried.",
        "overrides": "What instances would have instead, by their id.",
        "waiting": "The names of the instances that are not computed yet. The months appear once it is empty.",
        "months": "The effect on each of the last twelve month-ends, by currency.",
    },
    "PreviewMonth": {
        "on": "The last day of the month.",
        "currency": "The currency of the amounts.",
        "mrr_before": "MRR on this day by the definitions in force.",
        "mrr_after": "MRR on this day by the others.",
        "mrr_change": "The difference.",
        "customers_before": "Customers with an MRR above 0 in the currency.",
        "customers_after": "The same by the other definitions.",
        "customers_change": "The difference.",
        "churned_mrr_before": "Churned MRR of the month, not above 0.",
        "churned_mrr_after": "The same by the other definitions.",
        "churned_mrr_change": "The difference.",
    },
    "Definitions": _GRACES
    | {"domains_count": "Whether domains are in the figures. If not, they are in none, by any lens."},
    "NewDefinitions": _GRACES
    | {
        "domains_count": "Whether domains are to be in the figures.",
        "instances": "What instances are to have instead; an instance that is not named keeps what it has.",
    },
    "InstanceOverrides": _OF_INSTANCE
    | {
        "name": "Its name.",
        "overrides": "What it has instead of the definitions of the organization.",
        "is_redefined": "Whether its figures still follow former definitions. They are being computed again.",
    },
    "Overrides": _OVERRIDES,
    "NewOverrides": _OF_INSTANCE | _OVERRIDES,
    "ChangedOrganization": {
        "reporting_currency": "The new currency; null for the default.",
    },
    "Me": {
        "email": "The e-mail address of the user, or of the maker of the token.",
        "organization": "The organization that all answers are about.",
        "role": "`viewer`, `analyst`, `admin` or `owner`.",
        "permissions": "What the caller may do: the permissions of the role, and for a token of its scopes.",
    },
    "Gap": {
        "id": "The public id of the subscription: instance, kind and its number in WHMCS.",
        "instance_id": "The id of the instance that it belongs to.",
        "kind": "`service`, `addon` or `domain`.",
        "number": "It counts the gaps of the subscription.",
        "customer_id": "The number of its customer in WHMCS.",
        "part": "`unpaid_in_grace`, `introductory_discount`, `price_changed`, `free_term` or `no_linked_line` (docs/metrics.md).",
        "product": "The key of its product.",
        "product_name": "The name of its product; null when it is not known.",
        "cycle": "How long it pays for at a time, such as `monthly`.",
        "currency": "The currency of the amounts.",
        "contract_mrr": "Its MRR by `contract`, a decimal string.",
        "paid_mrr": "Its MRR by `paid`.",
        "gap": "The difference; negative when more is paid than counts by `contract`.",
        "from_on": "The first day on which it is so.",
        "to_on": "The first day on which it is no longer so; null while it is on the last known day.",
    },
    "MetricDescription": {
        "slug": "The name of the metric in addresses.",
        "title": "Its name for people.",
        "unit": "`money`, `count` or `ratio`.",
        "good": "The direction that is good news.",
        "additive": "Whether the values of the groups sum to the total.",
        "description": "What it counts.",
        "groups": "What it can be split by.",
        "filters": "What it can be limited to, with `filter[…]`.",
        "lenses": "What it can be seen through.",
    },
    "Filters": {
        "on": "The newest known day.",
        "lens": "The rule by which subscriptions count.",
        "filters": "Every filter.",
    },
    "FilterValue": {
        "value": "The value as `filter[…]` takes it.",
        "name": "Its name for people: of a product, a product group, a promotion or an instance; null where the value says it.",
        "subscriptions": "How many subscriptions that count have it.",
    },
    "FilterValues": {
        "group": "The filter: `filter[…]` with this name, and `group_by`.",
        "values": "Its values, those of most subscriptions first; at most 1,000.",
        "others": "How many more values there are.",
    },
    "Matrix": {
        "metric": "`cohorts`.",
        "lens": "The rule by which subscriptions count.",
        "as_of": "The moment that the figures hold for: that of the least fresh instance; null before any sync.",
        "cohorts": "The cohorts of each currency, the oldest first.",
        "averages": "Their averages, by currency.",
        "notes": "What a reader has to know, in plain words.",
    },
    "ExpectedEnd": {
        "id": "Its public id: instance, kind and its number in WHMCS.",
        "instance_id": "The id of the instance that it belongs to.",
        "kind": "`service`, `addon` or `domain`.",
        "customer_id": "The number of its customer in WHMCS.",
        "product": "The key of its product, as in figures that are split by product.",
        "product_name": "The name of its product; null when WHMCS has none.",
        "cycle": "How long it pays for at a time, such as `monthly` or `years_2`.",
        "status": "Its status in WHMCS.",
        "currency": "The currency of its customer.",
        "mrr": "Its MRR, a decimal string.",
        "due_on": "Until when it is paid.",
        "days_overdue": "For how many days it is overdue; 0 if it is not.",
        "ends_on": "The first day on which it no longer counts by the lens `contract`, if nothing changes.",
        "is_requested": "Whether it is not to renew: an open cancellation request, or a domain that is marked so.",
    },
    "Movement": {
        "id": "The public id of the subscription: instance, kind and its number in WHMCS.",
        "instance_id": "The id of the instance that it belongs to.",
        "customer_id": "The number of its customer in WHMCS.",
        "on": "The day at whose end MRR differs from that of the day before.",
        "number": "It counts the movements of the customer on the day.",
        "kind": "`service`, `addon` or `domain`.",
        "movement": "`new_business`, `reactivation`, `expansion`, `contraction`, `churn`, `moved` or `transfer` (docs/metrics.md).",
        "reason": "Why, such as `upgrade` or `non_payment` (docs/metrics.md); null when there is none.",
        "amount": "A decimal string; negative when MRR was lost.",
        "currency": "The currency of the customer.",
        "product": "The key of the product with which the amount was won or lost.",
        "from_product": "The key of the product before; null when it did not count.",
        "to_product": "The key of the product after; null when it no longer counts.",
        "cycle": "How long it pays for at a time, such as `monthly`.",
        "days_away": "For how many days a reactivated customer was away; null otherwise.",
        "basis": "What dates it: `invoice`, `record`, `observed` or `request`.",
    },
    "Issue": {
        "id": "The public id of the subscription: instance, kind and its number in WHMCS.",
        "instance_id": "The id of the instance that it belongs to.",
        "kind": "`service`, `addon` or `domain`.",
        "number": "Its number in WHMCS.",
        "customer_id": "The number of its customer in WHMCS; null if it never could be read.",
        "reason": "Why it is not in every total (docs/metrics.md).",
        "words": "The same in words, with what to do.",
    },
    "Restatement": {
        "number": "It counts up: a greater one is newer.",
        "instance_id": "The id of the instance whose figures changed.",
        "at": "When they changed.",
        "cause": "`late_evidence`, `definition_change`, `merge`, `fraud` or `deletion` (docs/metrics.md).",
        "kind": "The kind of the subscriptions whose MRR changed.",
        "currency": "The currency of that MRR.",
        "from_on": "The first day that changed.",
        "to_on": "The day after the last day that changed.",
        "change": "A decimal string: by how much MRR of this kind changed on each of the days.",
        "mrr_before": "MRR of this kind and currency on the first of the days, before.",
        "mrr_after": "The same after the change.",
    },
    "NewInstance": _FORM,
    "NewToken": {
        "name": "Its name for people, 1 to 100 characters.",
        "scopes": "What it may do; at most what its maker may do.",
        "days": "The number of days after which it ends.",
    },
    "Omission": {
        "kind": "`service`, `addon` or `domain`.",
        "reason": "A stable code of why.",
        "count": "How many subscriptions.",
        "words": "Why, and what to do.",
    },
    "OperandValue": {
        "name": "Its name in the formula.",
        "title": "Its name for people.",
        "unit": "`money`, `count` or `ratio`.",
        "value": "A decimal string for money and ratios, an integer for a count; null when it is not known.",
        "list": "The address of the list that it is computed from.",
    },
    "Organization": {
        "id": "The id of the organization, by which the views in PostgreSQL are filtered.",
        "slug": "Its name in the addresses of its pages.",
        "name": "Its name for people.",
        "is_demo": "Whether it holds sample data.",
    },
    "Page": _PAGE,
    "Point": {
        "on": "The day that the value holds for: the last of its interval.",
        "value": "A decimal string for money and ratios, an integer for a count; null when it is not known.",
        "reason": "Why there is no value: `before_first_sync`, `not_synced`, `not_permitted`, the code of a failure, or what the formula "
        "lacks: `no_customers`, `no_customers_at_start`, `no_mrr_at_start`, `no_new_customers`, `nothing_lost`. "
        "Beside a value, `carried`: it is that of an earlier day, because nothing newer is known.",
        "complete": "Whether it is final: a complete value no longer changes.",
    },
    "Problem": {
        "type": "The code as a URN.",
        "title": "The kind of problem, for people.",
        "status": "The HTTP status.",
        "code": "A stable code for programs.",
        "detail": "What is wrong and what to do, for people.",
        "field": "The input that is wrong, when the problem is about one.",
        "request_id": "The id of the request, by which its log entry is found.",
        "errors": "All wrong fields, when there are several; the first is also in `code`, `detail` and `field`.",
    },
    "FieldProblem": {
        "code": "A stable name of what is wrong with the field.",
        "detail": "A sentence for people.",
        "field": "The name of the field.",
    },
    "Series": {
        "group": "What the series is about, by group; empty for a total.",
        "names": "The names for people of its product and its instance, by group.",
        "points": "The values in the order of their days. In a split answer, each series begins with its first sync.",
    },
    "Setting": {
        "name": "Its stable name.",
        "value": "Its value.",
        "words": "What the value does.",
    },
    "SkippedKind": {
        "kind": "What could not be read.",
        "action": "The WHMCS action that would read it.",
        "code": "A stable code of why not (docs/whmcs.md).",
        "required": "Whether figures need it.",
    },
    "SourceState": {
        "instance_id": "The id of the instance.",
        "instance_name": "Its name.",
        "time_zone": "The time zone whose days the figures have.",
        "kind": "What was read, such as `service` or `invoice`.",
        "first_on": "The first day that is known; null when it was never read.",
        "last_on": "The last day that is known.",
        "closed_before": "Days before this one change no more.",
        "read_at": "When it was last read.",
        "action": "The WHMCS action to allow, when the newest sync could not read it.",
        "code": "Why the newest sync could not read it (docs/whmcs.md); null when it could.",
    },
    "Subscription": {
        "id": "Its public id: instance, kind and its number in WHMCS.",
        "instance_id": "The id of the instance that it belongs to.",
        "kind": "`service`, `addon` or `domain`.",
        "customer_id": "The number of its customer in WHMCS.",
        "product": "The key of its product, as in figures that are split by product.",
        "product_name": "The name of its product; null when WHMCS has none.",
        "cycle": "How long it pays for at a time, such as `monthly` or `years_2`.",
        "status": "Its status in WHMCS.",
        "currency": "The currency of its customer.",
        "mrr": "Its MRR, a decimal string.",
        "from_on": "Since which day it has been as it is: price, product, cycle, status and customer.",
        "to_on": "The first day on which it no longer is so; null when it still is on the last known day.",
    },
    "Sync": {
        "id": "The id of the sync.",
        "instance_id": "The instance that is read.",
        "instance_name": "Its name.",
        "run_id": "The run that reads for this sync; null until it is queued.",
        "state": "`queued`, `running`, `succeeded`, `partial`, `failed`, `cancelled`, or `not_picked_up`: no answer for two minutes.",
        "mode": "`full` reads everything, `incremental` reads what may have changed.",
        "trigger": "`manual` or `schedule`.",
        "requested_at": "When it was requested.",
        "requested_by": "The person or token that requested it; null for a scheduled sync.",
        "started_at": "When reading began.",
        "ended_at": "When it ended; null before its end.",
        "heard_at": "When the last event about the sync came; null before the first. Two minutes later another sync may start.",
        "progress": "Records read by kind, in the order in which the kinds are read.",
        "per_cent": "How far it is, 0 to 100; less than 100 while it still reads.",
        "expected_rows": "About how many records it will read; null while that is unknown.",
        "counts": "Once ended: records read by kind.",
        "changes": "Once ended: records that differed from before, by kind.",
        "skipped": "Kinds that could not be read, and why.",
        "kinds": "The only kinds that it reads; empty: all.",
        "accept_deletions": "How many missing records of a kind a person has accepted to remove.",
        "accepted": "The first 100 of these records; empty in lists of syncs, and after the instance was deleted.",
        "whole": "Once ended: kinds of which every record was read.",
        "unreadable": "Once ended: records that could not be read, by kind.",
        "warnings": "Once ended: how often a field that no figure needs could not be read, by kind and field. "
        "Under `answers`, `noise` is around how many answers the site wrote text.",
        "held": "Once ended: records that are missing in WHMCS and wait for a person, by kind.",
        "code": _CODE,
        "message": "What was wrong and what to do, for people; null when nothing was wrong.",
        "applied": "Whether the figures contain what was read.",
        "mrr_change": "How the MRR of the instance changed with this sync, by currency, as decimal strings (lens `contract`); "
        "empty: no change. null: see `mrr_change_reason`.",
        "mrr_change_reason": "Why there is no `mrr_change`: `not_ended`; `not_good`, what it read counts from the next good sync on; "
        "`not_applied`, the figures do not contain it yet; `first_sync`, no MRR was known before; `with_later_sync`, it is in the change "
        "of the next sync that has one; `not_recorded`, it ran before MRRlytics recorded changes.",
    },
    "Token": {
        "id": "The id of the token.",
        "name": "Its name for people.",
        "prefix": "The beginning of the token, to recognise it by; null for tokens of old versions, which did not store it.",
        "created_by": "The e-mail address of its maker.",
        "scopes": "What it may do.",
        "created_at": "When it was made.",
        "expires_at": "When it ends; null: never.",
        "last_used_at": "When it was last used, to the minute; null: never.",
    },
    "NamedRecord": {
        "kind": "Its kind.",
        "id": "Its number in WHMCS.",
        "name": "A customer's name, or a subscription's product and customer, when it was accepted; null for other kinds.",
    },
    "NewSync": {"mode": "`full` reads everything, `incremental` reads what may have changed."},
}
