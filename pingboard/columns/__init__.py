"""The samples of a room as numpy columns: what the store hands over and ranking reads.

`blocks` is one hour of pings, `hours` one that still changes, `counts` a month as counted
latencies; `narrow` keeps each column in as few bytes as it takes.
"""
