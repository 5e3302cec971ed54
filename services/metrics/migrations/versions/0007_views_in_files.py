"""The text of each view stands in services/metrics/views. The views show what they showed; their comments are plainer.

0008, 0009, 0021 and 0028 change the views that are missing here.
"""

from libs.common.migrations import replace_view

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring each view to the text of its file."""
    replace_view("customers")
