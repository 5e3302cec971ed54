"""`python -m services.scheduler`: read settings, build the service, serve."""

import uvloop

from libs.common.settings import load
from services.scheduler.app import run
from services.scheduler.settings import Settings

if __name__ == "__main__":
    uvloop.run(run(load(Settings)))
