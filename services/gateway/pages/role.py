"""The actions that the API role of MRRlytics needs, grouped as in the role dialog of WHMCS 8 and 9."""

from typing import Final, NamedTuple

from libs.common.contracts.failures import OPTIONAL


class ActionGroup(NamedTuple):
    """A group of actions in the dialog."""

    title: str
    actions: tuple[str, ...]


class OptionalAction(NamedTuple):
    """An action that the role may lack, and what is missing without it."""

    action: str
    without: str


NEEDED: Final = (
    ActionGroup("Billing", ("GetInvoice", "GetInvoices")),
    ActionGroup(
        "Client",
        (
            "GetCancelledPackages",
            "GetClients",
            "GetClientsAddons",
            "GetClientsDetails",
            "GetClientsDomains",
            "GetClientsProducts",
        ),
    ),
    ActionGroup("Orders", ("GetProducts",)),
)
OPTIONALS: Final = tuple(OptionalAction(action, text) for action, text in sorted(OPTIONAL.items()))
