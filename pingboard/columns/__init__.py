"""The samples of a room as numpy columns: what the store hands over and ranking reads.

`blocks` is one hour of pings; `narrow` keeps each column in as few bytes as it takes.
"""
