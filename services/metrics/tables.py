"""The outbox of the schema `metrics`. All other tables are read and written by the statements in `repository`."""

from typing import Final

from sqlalchemy import MetaData

from libs.common.outbox import outbox_table

outbox: Final = outbox_table(MetaData(schema="metrics"))
