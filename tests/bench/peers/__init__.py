"""Loads the same pages as MRRlytics with a general tool, to compare the rows per second: `make bench-peers`."""
