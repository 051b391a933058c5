"""Samples -> standings, with numpy. Pure: no I/O and no clock."""
