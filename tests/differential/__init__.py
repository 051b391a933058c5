"""Random operations on a real store, compared after each with a plain model of events."""
