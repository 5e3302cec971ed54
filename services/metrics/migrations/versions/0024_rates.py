"""The rates of currencies, and the conversion of an amount from one currency into another."""

from alembic import op

from libs.common.migrations import replace_view

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

# Without STRICT, and with one expression, the planner puts the function into the statement that calls it. `mod` is 0 where the exact
# result lies in the middle between two micros.
_CONVERTED = """
CREATE FUNCTION metrics_read.converted(micros bigint, numerator numeric, denominator numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT CASE WHEN numerator = denominator THEN micros ELSE
    sign(micros::numeric) * (div(2 * abs(micros) * numerator + denominator, 2 * denominator)
        - CASE WHEN mod(2 * abs(micros) * numerator + denominator, 2 * denominator) = 0
            THEN mod(div(2 * abs(micros) * numerator + denominator, 2 * denominator), 2) ELSE 0 END) END $$"""


def upgrade() -> None:
    """Create the function and the view."""
    op.execute(_CONVERTED)
    op.execute(
        """COMMENT ON FUNCTION metrics_read.converted IS
        'micros * numerator / denominator, which are whole numbers, rounded once to a whole micro, half to even.'"""
    )
    replace_view("rates")
