"""The room, through matrix-nio: events come in, pings and pongs go out.

worker.py         wires the rest for `pingboard worker`, and says how it is
  session.py        our account: discovery, login, token; join, send, ask
    client.py         nio at its edge: each call bounded in time, each fault an exception of ours
    retry.py          pauses that grow; one log line an outage
  sync.py           receive: stamps each response, and asks again at once
  record.py         judge and commit what comes in, from a bounded queue
    protocol.py       event content <-> Ping, Pong; pure
    pongs.py          which ping a pong answers, and what has to wait for its ping
    verify.py         whether it counts, and if not, why; pure
    store_writer.py   the store, off the event loop, each call until it succeeds
  backfill.py       what was not heard live: gaps in a room's history, pings that pongs name
  pings.py          our own pings, and which of their pongs measure a round trip
    clock.py          the clock of round trips
  rooms.py          joining, members, upgrades
  bot.py            `!pingboard`, editions, watches
echo.py           the echo bot, `pingboard echo`
check.py          what `pingboard doctor` asks the homeserver
"""
