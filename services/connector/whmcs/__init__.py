"""Speaks with WHMCS: calls, answers, actions and the translation of rows. Its shapes do not leave this package."""
