"""A WHMCS that answers like a real one, with a seeded hosting company that lives day by day.

Run it with `python -m tools.whmcs_simulator`. In a test, call `life.build_company(...)`, then `life.advance(company, days)`,
`change.change(company, ...)` and `truth.true_figures(company, day, lens)`. The simulator imports nothing from `libs` or `services`:
shared code would hide the mistakes that it must find.
"""
