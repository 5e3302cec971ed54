"""Settings > Instances: the list."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from services.gateway.context import ContextDependency
from services.gateway.instances.views import list_instances
from services.gateway.pages.callers import InstanceReader
from services.gateway.pages.rendering import page
from services.gateway.pages.states import common_zone, state_of

router = APIRouter()


@router.get("/settings/instances")
async def instance_list(
    request: Request, context: ContextDependency, principal: InstanceReader
) -> HTMLResponse:
    """Show every instance with its state."""
    listed = await list_instances(context, principal)
    zone, now = common_zone(listed), context.clock()
    states = {instance.id: state_of(instance, zone, now) for instance in listed}
    return page(request, "instances.html", principal=principal, instances=listed, states=states, zone=zone)
