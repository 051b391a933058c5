"""What flows through pingboard, from a room event to a board, and the errors.

    room events -> Ping, Pong -> Sample -> (store) -> Standing, Board

Everything here is plain data: no I/O, no clock. Times are either `datetime` (aware, UTC; names
end in `_at` or stand in a `Window`) or Matrix timestamps (`int`, milliseconds since the Unix
epoch; names end in `_ts`). Latencies are `int` milliseconds, names end in `_ms`.

The tree of errors:

    PingboardError
      ConfigurationError      a setting or an argument is wrong; refuse to start
      AccountError            the homeserver turns the account away
      HomeserverError         the homeserver can't be reached or answers with an error; passes
        RateLimitedError      it asks to wait
        EncryptedRoomError    the room is encrypted
      StoreError              the database can't be opened or is not ours
        DamagedHourError      what it keeps of an hour is damaged
        LeaseError            another worker writes to it
      LabError                a lab of homeservers can't start or go on
      UnknownRoomError        no such room in the store
      UnknownHomeserverError  no such homeserver in that room and window
"""

from __future__ import annotations

from pingboard.model.boards import (
    DEFAULT_BOARD,
    ONE_WAY_MIN_MS,
    Board,
    BoardName,
    ChangeKind,
    PingstatRow,
    Room,
    Standing,
    describe_board,
)
from pingboard.model.errors import (
    AccountError,
    ConfigurationError,
    DamagedHourError,
    EncryptedRoomError,
    HomeserverError,
    LabError,
    LeaseError,
    PingboardError,
    RateLimitedError,
    StoreError,
    UnknownHomeserverError,
    UnknownRoomError,
    hide_password,
)
from pingboard.model.events import (
    MAX_ONE_WAY_MS,
    PONG_TIMEOUT_MS,
    Batch,
    Gap,
    Pending,
    Ping,
    PingKey,
    Pong,
    Provenance,
    Rejected,
    Rejection,
    RoomState,
    Sample,
    VoidReason,
    WorkerState,
    hash_event_id,
    is_event_id,
    is_vantage,
)
from pingboard.model.times import (
    DEFAULT_WINDOW,
    WINDOWS,
    Window,
    from_ts,
    is_possible_time,
    parse_duration,
    to_ts,
    write_instant,
)
