"""SQL of metrics, one module per subject. Functions take the asyncpg connection of the caller's transaction and never commit."""
