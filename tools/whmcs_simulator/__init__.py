"""A WHMCS that answers like the real one, with a seeded hosting company that lives day by day.

`python -m tools.whmcs_simulator` serves it; in process: `life.build_company(...)`, then `life.advance(company, days)`,
`change.change(company, ...)` and `truth.true_figures(company, day, lens)`. It imports nothing from `libs` or `services`, so that it
can judge them.
"""
