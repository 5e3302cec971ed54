"""Why a figure has no value, in words."""

from typing import Final

_REASONS: Final = {
    "carried": "Value of an earlier day.",
    "not_permitted": "WHMCS does not let MRRlytics read it.",
    "not_synced": "Not synced yet.",
    "invoices_not_read": "Not all invoices are read yet.",
    "before_first_sync": "Not known before the first sync.",
    "no_subscription": "No live subscription on this day.",
    "no_customers": "No customers to divide by.",
    "no_customers_at_start": "There were no customers at the start of the period.",
    "no_new_customers": "There were no new customers in the period.",
    "nothing_lost": "Nothing was lost in the period.",
    "no_mrr_at_start": "There was no MRR at the start of the period.",
}


def reason_text(reason: str | None) -> str:
    """Return the sentence for a reason of the API."""
    return _REASONS.get(reason or "", "It could not be read.")
