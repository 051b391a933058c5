"""pingboard: the leaderboard of Matrix homeservers by message latency.

Where a pong goes:

    matrix/            store/             ranking/          web/
    the room's    ->   samples, kept  ->  samples      ->   JSON, Markdown,
    events             once each          to standings      pages
        \\________________ boards.py: a board as of now ______/

`model` is under all of it (what flows), `render/` turns a board into text, `lab/` is a real
Matrix network on this machine, and `cli` wires the parts together.
"""
