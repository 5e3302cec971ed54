"""The rows of WHMCS answers. Ids are integers and amounts text here; `drift.py` makes them vary as WHMCS does.

Names of fields and spellings of values: WHMCS developer docs, the sample of the action (copies: tests/contract/whmcs). A comment
names the source of each detail that no sample shows, as answers.py says.
"""
