"""Who calls the API, and that the call asks for nothing that the API does not know."""

from fastapi import Request

from services.gateway.auth import Principal, signed_in
from services.gateway.errors import Invalid


class caller(signed_in):
    """`signed_in`, for programs: a misspelt filter is refused by name, because its answer would be about everything."""

    async def __call__(self, request: Request) -> Principal:
        principal = await super().__call__(request)
        known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
        for name in request.query_params:
            if name not in known:
                choice = f"Choose of {', '.join(known)}." if known else "It takes none."
                raise Invalid(
                    "parameter_unknown", f"There is no parameter {name[:60]!r} here. {choice}", name
                )
        return principal
