"""Rows of the activity log."""

from typing import Final

from tools.whmcs_simulator.canaries import secret
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.records import Entry
from tools.whmcs_simulator.rows.formats import Row, moment

# inferred: user and address of entries that no person made.
LOG_USER: Final = "System"


LOG_ADDRESS: Final = "203.0.113.7"


def log_entry(company: Company, entry: Entry) -> Row:
    return {
        "id": entry.id,
        "clientId": entry.customer_id,
        "userId": 0,
        "adminId": 0,
        "date": moment(entry.at),
        "description": f"{entry.text} {secret('log_text', entry.id)}",
        "username": LOG_USER,
        "ipaddress": LOG_ADDRESS,
        "userid": entry.customer_id,
    }
