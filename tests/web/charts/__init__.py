"""Where numbers lie in the drawings."""
