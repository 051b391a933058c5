"""Boards -> HTTP: JSON, Markdown and pages, with FastAPI."""
