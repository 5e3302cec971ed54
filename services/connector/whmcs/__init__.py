"""Everything that speaks WHMCS's own language; nothing of it leaves this package."""
