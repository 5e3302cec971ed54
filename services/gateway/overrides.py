"""What an instance has instead of the definitions of its organization."""

from libs.common.contracts.definitions import Definitions, GraceDays
from libs.common.contracts.message import Message


class Overrides(Message):
    """The graces of one instance; None where it has that of its organization."""

    service_grace_days: GraceDays | None = None
    addon_grace_days: GraceDays | None = None
    domain_grace_days: GraceDays | None = None

    def over(self, definitions: Definitions) -> Definitions:
        """Return the definitions of the instance, from those of its organization."""
        return definitions.model_copy(update=self.model_dump(exclude_none=True))
