"""Alembic migrations of the store, installed as `py_agent.migrations`."""
