"""The language that the services share with each other and with downstream consumers. Pure: no I/O, no clock."""
