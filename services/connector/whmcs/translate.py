"""From one WHMCS row to the body of its fact. Pure.

The fields that are read, and all that is read of a row, stand in the modules customers, subscriptions, invoices and catalogue; the rules
for their values stand in fields.
"""

from libs.common.contracts.instances import InstanceSettings
from services.connector.changes import UnreadableRow
from services.connector.whmcs.answers import Row
from services.connector.whmcs.entities import ListAction, LookUp
from services.connector.whmcs.fields import row_id
from services.connector.whmcs.shapes import Translated


def translate_row(action: ListAction | LookUp, row: Row, settings: InstanceSettings) -> Translated:
    """Return the body that a row becomes; raise UnreadableRow when a field is unreadable that figures need."""
    try:
        return action.translate(row, settings)
    except UnreadableRow:
        raise
    # A row may have any form. None may end a run, also if no rule has thought of it.
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        raise UnreadableRow(_id(row), "it has an unexpected form") from error


def _id(row: Row) -> int | None:
    for column in ("id", "pid", "invoiceid"):
        try:
            return row_id(row[column])
        except (KeyError, ValueError):
            continue
    return None
