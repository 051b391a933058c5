"""Case 57, its short form: the worker against a model."""

from __future__ import annotations

from faults.state_machine import WorkerMachine, run


def test_whatever_happens_the_store_is_what_the_room_says() -> None:
    run(WorkerMachine, examples=10, steps=25)
