"""`python -m services.gateway`: read settings, build the service, serve."""

import uvloop

from libs.common.settings import load
from services.gateway.app import run
from services.gateway.settings import Settings

if __name__ == "__main__":
    uvloop.run(run(load(Settings)))
