"""The paths for programs: one module a group of paths."""
