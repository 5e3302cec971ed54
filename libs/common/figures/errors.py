"""The error of a question about figures."""

from libs.common.errors import MRRlyticsError


class QuestionError(MRRlyticsError):
    """The question cannot be answered as it stands. `field` names the part to change."""

    def __init__(self, code: str, message: str, field: str) -> None:
        super().__init__(code, message)
        self.field = field
