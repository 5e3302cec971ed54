"""A step of the stack for a database elsewhere: set the password of each service's role."""

import asyncio
import sys
from pathlib import Path

from sqlalchemy import text

from libs.common.database import build_engine
from libs.common.settings import PostgresSettings, load
from tools.local_stack import state
from tools.local_stack.programs import SERVICES


async def set_passwords(directory: Path) -> None:
    """Set the passwords stored in `directory`. The role of MRRLYTICS_DATABASE_URL must be allowed to alter roles."""
    engine = build_engine(load(PostgresSettings), service="local-stack")
    try:
        async with engine.begin() as connection:
            for role, password in state.role_passwords(directory, *SERVICES).items():
                # DDL takes no parameters. Passwords are base64url, so they contain nothing to quote.
                await connection.execute(text(f"ALTER ROLE {role} PASSWORD '{password}'"))
    finally:
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(set_passwords(Path(sys.argv[1])))
