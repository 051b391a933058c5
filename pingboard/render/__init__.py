"""Boards -> Markdown, CSV, JSON and sentences. Pure: no I/O and no clock."""
