"""Where Porter keeps sensitive values: a resolver for each of its secrets plugins. Read-only."""
