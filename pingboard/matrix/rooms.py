"""The rooms we are in: joining them, who is in them, and following a room that is upgraded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import structlog

from pingboard.matrix import clock
from pingboard.matrix.protocol import Event, predecessor_of, read_tombstone, successor_of
from pingboard.matrix.retry import retry_until_answered
from pingboard.matrix.session import Session
from pingboard.matrix.store_writer import Writer
from pingboard.model import HomeserverError, RoomState
from pingboard.servername import server_of
from pingboard.store.pings import find_answered_since
from pingboard.store.rooms import read_lineage_ids, read_room_names, record_room_state
from pingboard.store.watches import move_watches

RETRY_S = 60.0
"""How long to wait before our homeserver is asked again for what it could not tell or do."""

EXPECTED_WITHIN_MS = 86_400_000
"""A server that answered none of our pings for a day counts as gone: its missing pongs are no
loss."""

log = structlog.get_logger()


class JoinedRooms:
    """The configured rooms and those that replaced them."""

    def __init__(
        self,
        session: Session,
        writer: Writer,
        on_replaced: Callable[[str, str], None],
    ) -> None:
        self._session = session
        self._writer = writer
        self._on_replaced = on_replaced
        self.members: dict[str, Members] = {}
        """of each room that is listened in, by its ID"""
        self.lineages: dict[str, list[str]] = {}
        """of each of these, with those it was upgraded from or to"""
        self._unasked: set[str] = set()
        self._tombstones: dict[tuple[str, str], object] = {}
        """(room, its successor) -> who said so, of upgrades that are to be followed"""
        self._decided: set[tuple[str, str]] = set()
        """the same, of those that were followed or refused"""
        self._linked: set[tuple[str, str]] = set()
        """the same, of those that were found after they were made"""
        self._visited: set[str] = set()
        """rooms that were joined only to look whether they replace one"""
        self._warned: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()

    async def listen_where_known(self, rooms: Sequence[str]) -> None:
        """Listen in the rooms that an earlier run knows by these aliases or IDs.

        Not only once they are joined: what happened in a room that a sync leaves out, no later one
        brings.
        """
        for room_id, alias in await self._writer.call(read_room_names):
            if room_id in rooms or alias in rooms:
                await self._listen(room_id)

    async def join(self, room: str, on_fault: Callable[[HomeserverError], Awaitable[None]]) -> str:
        """Join a room by alias or ID; return its ID.

        It can take minutes, and is tried until it works.
        """

        async def tell(error: HomeserverError) -> None:
            await self._record_unjoined(room)
            await on_fault(error)

        return await retry_until_answered(
            lambda: self._join_once(room), on_fault=tell, waiting_for=f"to join {room}"
        )

    async def _join_once(self, room: str) -> str:
        room_id = await self._session.join(room)
        alias = room if room.startswith("#") else None
        predecessor = await self._known_predecessor(room_id)
        await self._enter(room_id, alias, predecessor)
        if predecessor is not None:
            self._linked.add((predecessor, room_id))
        log.info("joined", room=room, room_id=room_id)
        tombstone = await self._session.state(room_id, "m.room.tombstone")
        if tombstone is not None:
            event = {"type": "m.room.tombstone", "state_key": "", "content": tombstone}
            self.note_tombstones(room_id, [event])
        return room_id

    async def _record_unjoined(self, room: str) -> None:
        for names in await self._writer.call(read_room_names):
            if room in names:
                await self._writer.call(record_room_state, names[0], RoomState.UNJOINED)

    def ask_members(self, room_id: str) -> None:
        """Ask who is in a room, soon; until our homeserver says, those known before stay."""
        self._unasked.add(room_id)
        self._wake.set()

    def note_tombstones(self, room_id: str, events: Sequence[Event]) -> None:
        """Follow a room to the one that replaces it, soon, where one of the events says so."""
        for event in events:
            successor = read_tombstone(event)
            if successor is not None and (room_id, successor) not in self._decided:
                self._tombstones[room_id, successor] = event.get("sender")
                self._wake.set()

    async def run(self) -> None:
        """Ask and follow without end; what fails is tried again."""
        while True:
            self._wake.clear()
            for room_id in list(self._unasked):
                await self._ask_members(room_id)
            for (room_id, successor), sender in list(self._tombstones.items()):
                await self._follow(room_id, successor, sender)
            is_open = self._unasked or self._tombstones
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S if is_open else None):
                    await self._wake.wait()

    async def _ask_members(self, room_id: str) -> None:
        members = self.members[room_id]
        members.begin_asking()
        try:
            members.replace(await self._session.joined_members(room_id))
        except HomeserverError as error:
            self._warn_once(room_id, "can't ask for the members yet", error)
        else:
            self._unasked.discard(room_id)

    def _warn_once(self, room_id: str, event: str, error: HomeserverError) -> None:
        if (room_id, event) not in self._warned:
            self._warned.add((room_id, event))
            log.warning(event, room_id=room_id, error=str(error))

    async def _follow(self, room_id: str, successor: str, sender: object) -> None:
        """Join the room that replaces this one, if it is true that it does.

        A tombstone is only one room's word. It is believed when the other room's creation names
        this one as its predecessor, so that nobody can lead us, or a room's history, elsewhere.
        """
        try:
            is_replaced = await self._replace(room_id, successor, sender)
        except HomeserverError as error:
            # It may be let in a moment after the tombstone, or its homeserver be away.
            self._warn_once(room_id, "can't follow the upgrade yet", error)
            return
        del self._tombstones[room_id, successor]
        self._decided.add((room_id, successor))
        if is_replaced:
            self._on_replaced(room_id, successor)

    async def _replace(self, room_id: str, successor: str, sender: object) -> bool:
        server = server_of(sender) if isinstance(sender, str) else None
        if successor not in await self._session.joined_rooms():
            self._visited.add(successor)
        await self._session.join(successor, [server] if server else [])
        create = await self._session.state(successor, "m.room.create")
        if create is None or predecessor_of(create) != room_id:
            log.error(
                "tombstone ignored: the room it names does not say that it replaces this one",
                room_id=room_id,
                successor=successor,
            )
            if successor in self._visited - self.members.keys():
                await self._session.leave(successor)
            return False
        if (room_id, successor) not in self._linked:
            aliases = dict(await self._writer.call(read_room_names))
            await self._enter(successor, aliases.get(room_id), room_id)
            log.info("followed an upgrade", room_id=room_id, successor=successor)
        return True

    async def _known_predecessor(self, room_id: str) -> str | None:
        """Return the room that this one replaces, where we were in it: its samples are this one's.

        A creation is only one room's word too: the other's tombstone must name this one.
        """
        create = await self._session.state(room_id, "m.room.create")
        predecessor = predecessor_of(create) if create is not None else None
        if predecessor not in dict(await self._writer.call(read_room_names)):
            return None
        tombstone = await self._session.state(predecessor, "m.room.tombstone")
        if tombstone is not None and successor_of(tombstone) == room_id:
            return predecessor
        log.warning(
            "predecessor ignored: it has no tombstone that names this room",
            room_id=room_id,
            predecessor=predecessor,
        )
        return None

    async def _enter(self, room_id: str, alias: str | None, predecessor: str | None) -> None:
        await self._writer.record_room(room_id, alias, predecessor)
        if predecessor is not None:
            await self._writer.call(move_watches, predecessor, room_id)
        await self._listen(room_id)
        self.ask_members(room_id)

    async def _listen(self, room_id: str) -> None:
        """Listen in a room and those of its lineage: a redaction is said where the pong was."""
        since_ts = clock.now_ts() - EXPECTED_WITHIN_MS
        lineage = await self._writer.call(read_lineage_ids, room_id)
        self.lineages.update(dict.fromkeys(lineage, lineage))
        for known_id in lineage:
            if known_id not in self.members:
                answered, damaged = await self._writer.call(find_answered_since, known_id, since_ts)
                self._writer.tell_damage(damaged)
                self.members[known_id] = Members(answered)


class Members:
    """The members of one room, and which servers' bots have answered us lately.

    `answered` are servers with the time of their last pong to a ping of ours. Until our homeserver
    has said who is in the room, all of these are taken to be.
    """

    def __init__(self, answered: Mapping[str, int]) -> None:
        self._users: set[str] | None = None
        self._changes: dict[str, bool] = {}
        """who came (True) or went since our homeserver was last asked for all"""
        self._answered = dict(answered)
        self._bots: dict[str, set[str]] = {}

    def begin_asking(self) -> None:
        """Note that our homeserver is asked for all members: changes from here on are newer."""
        self._changes.clear()

    def replace(self, user_ids: Iterable[str]) -> None:
        """Learn all members, as they were at some time since `begin_asking`."""
        self._users = set(user_ids)
        for user_id, is_joined in self._changes.items():
            self._apply(user_id, is_joined=is_joined)

    def change(self, user_id: str, *, is_joined: bool) -> None:
        """Note that somebody came, stayed or went."""
        self._changes[user_id] = is_joined
        self._apply(user_id, is_joined=is_joined)

    def hear(self, bot: str, server: str, seen_ts: int) -> None:
        """Note that a bot has answered a ping of ours."""
        self._answered[server] = max(seen_ts, self._answered.get(server, 0))
        self._bots.setdefault(server, set()).add(bot)

    def expected(self, now_ts: int) -> list[str]:
        """Return the servers from which a ping sent now should be answered."""
        present = {server_of(user_id) for user_id in self._users or ()}
        return [
            server
            for server, last_ts in self._answered.items()
            if now_ts - last_ts <= EXPECTED_WITHIN_MS
            and (self._users is None or server in present)
            # Which of a server's users is the bot is known once it answered this process.
            and (server not in self._bots or any(map(self._is_here, self._bots[server])))
        ]

    def _is_here(self, user_id: str) -> bool:
        if self._users is None:
            return self._changes.get(user_id, True)
        return user_id in self._users

    def _apply(self, user_id: str, *, is_joined: bool) -> None:
        if self._users is None:
            return
        if is_joined:
            self._users.add(user_id)
        else:
            self._users.discard(user_id)
