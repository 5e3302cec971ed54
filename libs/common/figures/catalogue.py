"""Every metric that the product shows: API, pages, explanations and docs read this list."""

from typing import Final

from libs.common.figures.families.ends import END_METRICS
from libs.common.figures.families.movements import MOVEMENT_METRICS
from libs.common.figures.families.paid import PAID
from libs.common.figures.families.retention import RETENTION
from libs.common.figures.families.revenue import REVENUE

METRICS: Final = (*REVENUE, *PAID, *MOVEMENT_METRICS, *RETENTION, *END_METRICS)
BY_SLUG: Final = {metric.slug: metric for metric in METRICS}
