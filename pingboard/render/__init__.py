"""A board -> text: Markdown. Pure: no I/O and no clock."""
