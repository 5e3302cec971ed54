"""SQL of the connector, one module per subject. Functions take the asyncpg connection of the caller's transaction."""
