"""Who may open a page: the signed-in person, with one permission."""

from typing import Annotated

from fastapi import Depends

from services.gateway.auth import SignedIn
from services.gateway.principals import Principal

Member = Annotated[Principal, Depends(SignedIn("self:read"))]
MetricsReader = Annotated[Principal, Depends(SignedIn("metrics:read"))]
CustomersReader = Annotated[Principal, Depends(SignedIn("customers:read"))]
InstanceReader = Annotated[Principal, Depends(SignedIn("instances:read"))]
InstanceWriter = Annotated[Principal, Depends(SignedIn("instances:write"))]
SyncStarter = Annotated[Principal, Depends(SignedIn("sync:trigger"))]
TokenWriter = Annotated[Principal, Depends(SignedIn("tokens:write"))]
