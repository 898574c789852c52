"""Submitted code as a `Subject`: it lives in a worker, its cells are run there, and it survives a few deaths."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from course_lib.grader.exam import Trouble
from course_lib.grader.server import Session, Worker

MOST_DEATHS = 2  # of one exercise; then the rest of its cases fail unasked


@dataclass
class Unit:
    """A piece of a notebook that runs at once: statements `only` (all if None) of a cell, or a reference's source."""

    file: str
    source: str
    only: list[int] | None = None
    defines: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)
    mentions: set[str] = field(default_factory=set)
    star: bool = False
    id: str | None = None  # of the exercise, for a marked cell
    deadly: Trouble | None = None  # it hung or killed the process: never run it again


class Seat:
    """Where one exercise is examined: a session with its units loaded, and another one after a death."""

    def __init__(self, worker: Worker, units: list[Unit], id: str):
        self.worker, self.units, self.id = worker, units, id
        self.session: Session | None = None
        self.deaths = 0
        self.last: Trouble | None = None
        self.errors: dict[str, Trouble] = {}  # by unit's file: why it did not run to its end

    def ask(self, op: str, **content: Any) -> Any:
        session = self._open()
        try:
            return self._request(session, op, **content)
        except Trouble as trouble:
            own = [u for u in self.units if u.id == self.id]
            if trouble.described["type"] == "Missing" and own:
                raise own[0].deadly or self.errors.get(own[0].file) or trouble from None
            raise

    def close(self) -> None:
        if self.session:
            self.session.close()

    def _request(self, session: Session, op: str, **content: Any) -> Any:
        limits = self.worker.limits
        try:
            return session.ask(op, limits.call_after_death if self.deaths else limits.call, **content)
        except Trouble as trouble:
            if trouble.described["type"] in ("TimeLimit", "Died"):
                self.deaths, self.last, self.session = self.deaths + 1, trouble, None
            raise

    def _open(self) -> Session:
        """The session, with all units run in order, and those that failed run once more: cells may have been moved."""
        while self.session is None:
            if self.deaths >= MOST_DEATHS and self.last:
                raise self.last
            self.session = session = self.worker.session()
            waiting = [unit for unit in self.units if not unit.deadly]
            for _ in range(2):
                waiting = [unit for unit in waiting if self.session and not self._run(session, unit)]
        return self.session

    def _run(self, session: Session, unit: Unit) -> bool:
        try:
            self._request(session, "run", source=unit.source, file=unit.file, only=unit.only)
        except Trouble as trouble:
            self.errors[unit.file] = trouble
            if self.session is None:
                unit.deadly = trouble
            return False
        self.errors.pop(unit.file, None)
        return True


class Remote:
    """A `Subject` whose function or class lives in a worker."""

    def __init__(self, seat: Seat, name: str):
        self.seat, self.name = seat, name
        self.changed: int | str | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.send("call", name=self.name, args=args, kwargs=kwargs)

    def gradients(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self.send("gradients", name=self.name, args=args, kwargs=kwargs)

    def new(self, *args: Any, **kwargs: Any) -> RemoteHandle:
        return RemoteHandle(self, self.send("new", name=self.name, args=args, kwargs=kwargs))

    def send(self, op: str, **content: Any) -> Any:
        try:
            return self.seat.ask(op, **content)
        finally:
            if self.changed is None and self.seat.session is not None:
                self.changed = self.seat.session.changed


class RemoteHandle:
    """A `Handle` for an object that lives in a worker."""

    def __init__(self, subject: Remote, number: Any):
        self.subject, self.number = subject, number

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return self._send("call", args, kwargs)

    def gradients(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self._send("gradients", args, kwargs)

    def get_state(self) -> dict[str, Any]:
        return self._send("get_state", (), {})

    def set_state(self, state: dict[str, Any]) -> None:
        self._send("set_state", (state,), {})

    def _send(self, what: str, args: tuple, kwargs: dict) -> Any:
        return self.subject.send("on_handle", handle=self.number, what=what, args=args, kwargs=kwargs)
