"""Who may open a page: the signed-in person, with one permission."""

from typing import Annotated

from fastapi import Depends

from services.gateway.auth import signed_in
from services.gateway.principals import Principal

Member = Annotated[Principal, Depends(signed_in("self:read"))]
MetricsReader = Annotated[Principal, Depends(signed_in("metrics:read"))]
InstanceReader = Annotated[Principal, Depends(signed_in("instances:read"))]
InstanceWriter = Annotated[Principal, Depends(signed_in("instances:write"))]
SyncStarter = Annotated[Principal, Depends(signed_in("sync:trigger"))]
TokenWriter = Annotated[Principal, Depends(signed_in("tokens:write"))]
