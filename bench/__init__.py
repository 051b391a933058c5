"""pingboard's benchmarks: `python -m bench`, or `make bench`.

    pongs.py     synthetic samples
    peer.py      pingstat's algorithm, what pingboard is measured against
    ranking.py   a group of figures: each names its pair and its target
    warm.py      another: board, matrix and JSON from memory
    store.py     another: from the database to a board, and whole processes
    year.py      another: the board of a year, exact, once raw rows are dropped
    scale.py     another: ten million samples, and the memory they take (peak.py)
    live.py      another: a new pong, answers over HTTP
    ingest.py    another: pongs into the database, one by one and in batches
    latency.py   another: answers while a board is ranked each second
    pairs.py     measures the two sides of a pair in turn
    machine.py   what it ran on
    report.py    the results, kept in results.json, as Markdown; bounds.md is what is to say of them
    plot.py      the results as a picture

A new group is a module whose docstring explains its figures and whose `pairs(quick)` yields them;
`__main__` lists the groups.
"""

from pingboard import simd

# As the command line does, and as early: it counts until numpy is imported.
simd.choose()
