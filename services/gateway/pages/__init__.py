"""The pages people see. They call the use cases that the API calls, and compute no figure themselves."""

from fastapi import APIRouter

from services.gateway.pages import (
    account,
    cohort,
    cohorts,
    currency,
    customer,
    customers,
    data,
    definitions,
    explain,
    gaps,
    instance,
    instance_form,
    instances,
    leaving,
    movements,
    mrr,
    other_addresses,
    overview,
    restatements,
    retention,
    sync,
    tokens,
)


def build_router() -> APIRouter:
    """Return the router of every page, for mounting at /. Each needs `app.state.context`."""
    router = APIRouter(include_in_schema=False)
    router.include_router(account.router)
    # Of two addresses that fit, the first is taken: /instances/new before /instances/{instance_id}.
    for page in (
        overview,
        explain,
        mrr,
        movements,
        gaps,
        restatements,
        retention,
        cohorts,
        cohort,
        leaving,
        customers,
        customer,
        data,
        instances,
        instance_form,
        instance,
        sync,
        definitions,
        currency,
        tokens,
    ):
        router.include_router(page.router, prefix="/o/{organization}")
    router.include_router(other_addresses.router)
    return router
