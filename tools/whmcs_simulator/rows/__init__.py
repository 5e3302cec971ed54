"""One row of each WHMCS answer. Ids are integers and amounts text here; `drift.py` makes them vary as WHMCS does.

Names of fields and spellings of values: WHMCS developer docs, the sample of the action (copies: tests/contract/whmcs). A comment
beside what no sample shows names its source, as in answers.py.
"""
