"""The ideal reader: the history of a company as docs/metrics.md defines it, rebuilt from what WHMCS's API shows at one moment.

It judges the product, so it shares no code with the services. It is written to be read: the rules stand one after another, and nothing
is fast or incremental.
"""
