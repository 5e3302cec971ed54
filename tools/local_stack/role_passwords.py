"""A step of the stack for a database that runs elsewhere: gives each service's role its kept password."""

import asyncio
import sys
from pathlib import Path

from sqlalchemy import text

from libs.common.database import build_engine
from libs.common.settings import PostgresSettings, load
from tools.local_stack import state
from tools.local_stack.programs import SERVICES


async def set_passwords(directory: Path) -> None:
    """Set the passwords kept in `directory`; MRRLYTICS_DATABASE_URL may alter roles."""
    engine = build_engine(load(PostgresSettings), service="local-stack")
    try:
        async with engine.begin() as connection:
            for role, password in state.role_passwords(directory, *SERVICES).items():
                # Passwords are base64url, so nothing in them needs quoting; DDL takes no parameters.
                await connection.execute(text(f"ALTER ROLE {role} PASSWORD '{password}'"))
    finally:
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(set_passwords(Path(sys.argv[1])))
