"""Samples, each kept once, through SQLAlchemy: SQLite embedded, PostgreSQL to grow on."""
