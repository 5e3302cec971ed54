"""The formulas: pure functions without I/O and clock."""
