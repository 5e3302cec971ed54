"""The statements on the service's tables, by subject. They take an asyncpg connection in the caller's transaction and never commit."""
