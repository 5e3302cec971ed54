"""The views of `metrics_read` are the files in services/metrics/views."""

import re

import pytest
from sqlalchemy import text

from libs.common.database import build_engine
from libs.common.migrations import read_view
from libs.common.settings import PostgresSettings
from tests.servers import REPOSITORY, Database

METRICS = REPOSITORY / "services" / "metrics"
NAMES = sorted(path.stem for path in (METRICS / "views").glob("*.sql"))

_VIEWS = """
SELECT c.relname, obj_description(c.oid), pg_get_viewdef(c.oid), pg_get_userbyid(c.relowner),
    has_table_privilege('gateway', c.oid, 'SELECT')
FROM pg_class c WHERE c.relkind = 'v' AND c.relnamespace = 'metrics_read'::regnamespace ORDER BY 1"""


async def test_migrated_views_are_those_of_the_files(database: Database) -> None:
    engine = build_engine(PostgresSettings(database_url=database.admin_url), service="test")
    async with engine.connect() as connection:
        migrated = (await connection.execute(text(_VIEWS))).all()
        files = []
        for name in NAMES:
            words, query = read_view(name)
            await connection.exec_driver_sql(f"CREATE TEMPORARY VIEW of_file_{name} AS {query}")
            definition = await connection.exec_driver_sql(
                f"SELECT pg_get_viewdef('of_file_{name}'::regclass)"
            )
            files.append((name, words, definition.scalar_one(), "metrics_views", True))
    await engine.dispose()

    assert [tuple(view) for view in migrated] == files


@pytest.mark.parametrize("name", NAMES)
def test_each_view_is_applied_by_one_migration(name: str) -> None:
    """An older one would apply a text that needs columns of a later one."""
    migrations = [path.read_text("utf-8") for path in (METRICS / "migrations" / "versions").glob("*.py")]

    assert sum(len(re.findall(rf'replace_view\("{name}"\)', migration)) for migration in migrations) <= 1
