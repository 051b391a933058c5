"""Runs steps on a database and on the model, and says where they first differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import time_machine

from pingboard.model import from_ts
from tests.differential.model import Model
from tests.differential.operations import Call, Step, shorten
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


def find_difference(steps: Sequence[Step], url: str) -> Difference | None:
    """Return the first difference, None where there is none."""
    store, model = Store(url), Model()
    before: tuple[int, Any] = (-1, None)
    try:
        for number, step in enumerate(steps):
            with (
                time_machine.travel(from_ts(step.now_ts), tick=False),
                patch("time.monotonic", return_value=step.now_ts / 1000),
            ):
                store.now_ts = model.now_ts = step.now_ts
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


def _do(step: Step, number: int, store: Store, model: Model) -> Difference | None:
    name, arguments = step.operation
    right: Answer
    said: Answer
    if name == "retain":
        # Which hours are dropped is the store's to say; the model knows which must and may be.
        [before_ts] = arguments
        right, said = [], model.retain(before_ts, store.retain(before_ts))
    else:
        right, said = (getattr(side, name)(*arguments) for side in (model, store))
    return None if right == said else Difference(number, step.operation, right, said)


def _ask(step: Step, number: int, store: Store, model: Model) -> Difference | None:
    for question in step.questions:
        if _is_known(question, store, model):
            right, said = (
                getattr(side, question.name)(*question.arguments) for side in (model, store)
            )
            if question.name == "known_pings":
                # Whether a ping stays known of which single samples are not kept is left open.
                said = {name: ping for name, ping in said.items() if name in right}
            if right != said:
                return Difference(number, question, *_narrow(right, said))
    return None


def _is_known(question: Call, store: Store, model: Model) -> bool:
    """Return whether there is the room that is asked about, and the homeserver."""
    if question.name == "history" and not store.knows_homeserver(question.arguments[2]):
        return False
    room_id = question.arguments[0] if question.arguments else None
    return room_id is None or room_id in model.predecessors


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
    steps: Sequence[Step], difference: Difference, new_database: NewDatabase
) -> tuple[list[Step], Difference]:
    """Return as few steps as still lead to a difference, and that."""
    best = [*steps[: difference.step + 1]]

    def still_fails(candidate: list[Step]) -> bool:
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
            for shorter in shorten(best[at].operation)
        )

    leave_out_steps(len(best) // 2)
    for at in range(len(best)):
        while shorten_step(at):
            pass
    still_fails([replace(step, questions=()) for step in best[:-1]] + best[-1:])
    leave_out_steps(1)
    return best, difference
