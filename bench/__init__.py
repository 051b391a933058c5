"""pingboard's benchmarks: `python -m bench`, or `make bench`; each proves what is promised.

    accuracy.py  round trips, against a homeserver that knows the truth
    kernel.py    ranking, against the sort that it can't do without
    store.py     from the database to a board, and whole processes; heard and imported
    scale.py     ten million samples: time, memory, a redaction
    disk.py      bytes a sample on SQLite and PostgreSQL
    year.py      a board of 52 million samples
    live.py      a new pong into fresh bytes, and following pongs
    answers.py   cached answers over HTTP
    ingest.py    pongs into the database

    pongs.py     synthetic samples, and how they get into a store
    peer.py      pingstat's algorithm, what pingboard is measured against
    pairs.py     measures the two sides of a pair in turn
    true_homeserver.py, api_clients.py    what accuracy.py measures at, and under
    lateness.py  how late a worker's event loop runs while it ranks
    serving.py, peak.py, machine.py    a server, a process's memory, what it ran on
    report.py    the results, kept in results.json, as report.md, which ends with bounds.md

A section is a module whose docstring explains its figures and whose `pairs()` yields them;
`__main__` lists the sections.
"""

from pingboard import simd

# As the command line does, and as early: it counts until numpy is imported.
simd.choose()
