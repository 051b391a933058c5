"""Prove that the worker survives faults and abuse, against real homeservers. `make faults` runs it.

Each case of a chapter is one function; the rest is its stage:

    __main__.py     runs the cases asked for (run.py), prints a row for each; exit code 1 where one
                    failed
    case.py         what a case is, and the table of all of them
    chapters/
      homeserver.py, network.py, tokens.py, starts.py, measuring.py, history.py
                                              "Homeserver and network"
      storage.py, upkeep.py, failover.py, drill.py, clocks.py
                                              "Worker and storage"
      abuse.py, strings.py                    "Abuse from the room"
      http.py                                 the API's clients
      unreal.py       the worker against a model homeserver, in thousands of steps
    state_machine.py, model_homeserver.py, crowd.py     the model, and what is tried on it
    report.py       a row for each, REPORT.md
    stage.py        what all cases share: two homeservers, an echo bot on each
    scene.py        what a case has for itself: a room, a worker behind a fault proxy, a database
    invariants.py   what has to hold after every case, whatever happened in it
      truth.py        the room's events -> the samples that there should be, told independently
      database.py     the samples that there are
    worker.py, site.py, user.py, bot.py
                    the worker's process, the API's, a client, an echo bot with a will
    faultproxy.py   between worker and homeserver: delays, cuts and changes what passes
    claims.py       what a case expects, and waits for
    lasting.py      what begins and ends with a case
    outputs.py      the names that each output shows, read by the format's own parser
    shifted.py      a process whose clock is wrong
    seed.py         thousands of messages at once

The short form takes seconds a case and runs with the tests; the long form takes an hour or two.
"""
