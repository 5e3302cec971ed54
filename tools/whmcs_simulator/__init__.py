"""A WHMCS that answers like the real one, with a seeded hosting company that lives day by day.

`python -m tools.whmcs_simulator` serves it; in process: `build_company(...)`, then
`advance(company, days)`, `change.change(company, ...)` and `Company.truth(day, lens)`.
It imports nothing from `libs` or `services`, so that it can judge them.
"""

from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.life import advance, build_company

__all__ = ["Company", "advance", "build_company"]
