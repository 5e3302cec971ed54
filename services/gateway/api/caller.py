"""Identify the caller of the API, and refuse parameters that the operation does not have."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Query, Request
from fastapi.dependencies.models import Dependant

from services.gateway.auth import SignedIn
from services.gateway.errors import Invalid
from services.gateway.principals import Principal


class ApiCaller(SignedIn):
    """`SignedIn` for programs. It refuses a misspelt filter, because the answer without that filter would mislead."""

    async def __call__(
        self,
        request: Request,
        organization: Annotated[
            str | None,
            Query(
                description="The organization as its pages' addresses name it, `nimbus` in `/o/nimbus/`. Without it, a session asks "
                "about the organization used last; a token always asks about its own."
            ),
        ] = None,
    ) -> Principal:
        principal = await self.admit(request, organization)
        route = request.scope["route"].dependant
        parameters = [*_names(route), "organization"]
        for name in request.query_params:
            if name not in parameters:
                choice = f"Choose one of {', '.join(parameters)}."
                raise Invalid("parameter_unknown", f"There is no parameter {name[:60]!r}. {choice}", name)
        return principal


def _names(dependant: Dependant) -> Iterator[str]:
    """Yield the names of the parameters in the query of an operation and of all that it depends on."""
    yield from (parameter.alias for parameter in dependant.query_params)
    for part in dependant.dependencies:
        yield from (name for name in _names(part) if name != "organization")
