"""Runs steps on a database and on the model, and says where they first differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import time_machine

from pingboard.model import from_ts
from tests.differential import operations as op
from tests.differential.model import BOARDS, Model
from tests.differential.store import Store

Answer = Any
NewDatabase = Callable[[], str]
"""Makes an empty database with all tables; returns its URL."""


@dataclass(frozen=True)
class Difference:
    """Where a store said something else than the model."""

    step: int
    """its number, from 0"""
    of: object
    """the question, or the operation"""
    right: Answer
    said: Answer

    def __str__(self) -> str:
        return f"after step {self.step}: {self.of}\n  right: {self.right}\n  said:  {self.said}"


def find_difference(steps: Sequence[op.Step], url: str) -> Difference | None:
    """Return the first difference, None where there is none."""
    store, model = Store(url), Model()
    before: tuple[int, Any] = (-1, None)
    try:
        for number, step in enumerate(steps):
            with (
                time_machine.travel(from_ts(step.now_ts), tick=False),
                patch("time.monotonic", return_value=step.now_ts / 1000),
            ):
                difference = _do(step, number, store, model)
                if difference is None:
                    version, fingerprint = store.version(), model.fingerprint()
                    if version == before[0] and fingerprint != before[1]:
                        return Difference(number, step.operation, "another version", version)
                    before = version, fingerprint
                    difference = _ask(step, number, store, model)
            if difference is not None:
                return difference
    finally:
        store.close()
    return None


def _do(step: op.Step, number: int, store: Store, model: Model) -> Difference | None:
    operation, now_ts = step.operation, step.now_ts
    right: Answer = None
    said: Answer = None
    match operation:
        case op.Join(room_id, alias):
            model.join(room_id, alias)
            store.join(room_id, alias)
        case op.Upgrade(old, new, alias):
            model.upgrade(old, new, alias)
            store.upgrade(old, new, alias)
        case op.Hear(batch, looks_up):
            model.hear(batch, looks_up=looks_up)
            store.hear(batch, looks_up=looks_up)
        case op.ImportPingstat(rows):
            right = model.import_pingstat(list(rows), now_ts)
            said = store.import_pingstat(list(rows), now_ts)
        case op.ImportExport(rows):
            right = model.import_export(list(rows), now_ts)
            said = store.import_export(list(rows), now_ts)
        case op.ImportOwnExport():
            right = 0
            said = store.import_export(store.export(None, op.Span(0, 2**45)), now_ts)
        case op.CloseHours():
            store.close_hours(now_ts)
        case op.Retain(before_ts):
            kept_from_ts = store.retain(before_ts, now_ts)
            right, said = [], model.retain(before_ts, kept_from_ts)
        case op.Restart():
            store.restart()
        case op.RestartReader():
            store.restart_reader()
    return None if right == said else Difference(number, operation, right, said)


def _ask(step: op.Step, number: int, store: Store, model: Model) -> Difference | None:
    for question in step.questions:
        right, said = _answer(question, step.now_ts, store, model)
        if right != said:
            return Difference(number, question, *_narrow(right, said))
    return None


def _answer(
    question: op.Question, now_ts: int, store: Store, model: Model
) -> tuple[Answer, Answer]:
    right: Answer
    said: Answer
    room_id = getattr(question, "room_id", None)
    if room_id is not None and room_id not in model.predecessors:
        return None, None
    match question:
        case op.AskBoards(room_id, span, min_samples, limit):
            right = model.boards(room_id, span, now_ts, min_samples, limit)
            said = store.boards(room_id, span, now_ts, min_samples, limit)
        case op.AskPairs(room_id, span):
            right, said = model.pairs(room_id, span), store.pairs(room_id, span)
        case op.AskHistory(room_id, span, homeserver, step_s):
            if not store.knows_homeserver(homeserver):
                return None, None
            right, said = (
                {
                    board: side.history(room_id, span, now_ts, homeserver, board, step_s * 1000)
                    for board in BOARDS
                }
                for side in (model, store)
            )
        case op.AskExport(room_id, span):
            right, said = model.export(room_id, span), store.export(room_id, span)
            right, said = _sort(right), _sort(said)
        case op.AskSamples(room_id, span, ping_server, pong_server, page_rows):
            right = _sort(model.samples(room_id, span, ping_server, pong_server))
            said = _sort(store.samples(room_id, span, ping_server, pong_server, page_rows))
        case op.AskPingstat(room_id, oldest_ts, newest_ts):
            right = model.pingstat(room_id, oldest_ts, newest_ts)
            said = store.pingstat(room_id, oldest_ts, newest_ts)
        case op.AskRooms():
            right, said = model.rooms(), store.rooms()
        case op.AskDuplicates():
            right, said = model.count_duplicates(), store.count_duplicates()
        case op.AskAnswered(room_id, since_ts):
            right = model.answered_since(room_id, since_ts)
            said = store.answered_since(room_id, since_ts)
        case op.AskPings(room_id, event_ids):
            right = model.known_pings(room_id, event_ids)
            said = store.known_pings(room_id, event_ids)
            # Whether a ping stays known of which single samples are not kept is left open.
            said = {name: ping for name, ping in said.items() if name in right}
    return right, said


def _sort(rows: list[op.Row]) -> list[op.Row]:
    """Order rows that may come in any order."""
    return sorted(rows, key=lambda row: [str(value) for value in row.values()])


def _narrow(right: Answer, said: Answer) -> tuple[Answer, Answer]:
    """Return the parts of two answers that differ."""
    while True:
        if isinstance(right, dict) and isinstance(said, dict) and right.keys() == said.keys():
            keys = [key for key in right if right[key] != said[key]]
            if len(keys) > 1:
                return {key: right[key] for key in keys}, {key: said[key] for key in keys}
            right, said = right[keys[0]], said[keys[0]]
        elif isinstance(right, list) and isinstance(said, list) and len(right) == len(said):
            places = [at for at in range(len(right)) if right[at] != said[at]]
            right, said = right[places[0]], said[places[0]]
        elif isinstance(right, list) and isinstance(said, list):
            return (
                [f"{len(right)} rows", *[row for row in right if row not in said]],
                [f"{len(said)} rows", *[row for row in said if row not in right]],
            )
        else:
            return right, said


def shrink(
    steps: Sequence[op.Step], difference: Difference, new_database: NewDatabase
) -> tuple[list[op.Step], Difference]:
    """Return as few steps as still lead to a difference, and that."""
    best = [*steps[: difference.step + 1]]

    def still_fails(candidate: list[op.Step]) -> bool:
        nonlocal best, difference
        try:
            fault = find_difference(candidate, new_database())
        except Exception as error:  # noqa: BLE001 (what raises is a fault as well)
            fault = Difference(len(candidate) - 1, "an exception", None, repr(error))
        if fault is None:
            return False
        best, difference = candidate[: fault.step + 1], fault
        return True

    def leave_out_steps(size: int) -> None:
        while size:
            at = 0
            while at < len(best) - 1:
                if not still_fails(best[:at] + best[min(at + size, len(best) - 1) :]):
                    at += size
            size //= 2

    def shorten_step(at: int) -> bool:
        return at < len(best) and any(
            still_fails([*best[:at], replace(best[at], operation=shorter), *best[at + 1 :]])
            for shorter in op.shorten(best[at].operation)
        )

    leave_out_steps(len(best) // 2)
    for at in range(len(best)):
        while shorten_step(at):
            pass
    still_fails([replace(step, questions=()) for step in best[:-1]] + best[-1:])
    leave_out_steps(1)
    return best, difference
