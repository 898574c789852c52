"""The code of one exercise as a `Subject`, although it runs in a worker; it survives a few deaths of its process."""

from __future__ import annotations

from typing import Any

from course_lib.grader.cells_needed import Piece
from course_lib.grader.inside.outcomes import DEADLY, Failed, Failure, Outcome
from course_lib.grader.worker_client import WorkerClient

MOST_DEATHS = 2  # of one exercise; then the rest of its cases fail unasked


class RemoteSubject:
    """A `Subject` whose function or class lives in a child of a worker, after the pieces of the notebook that it needs.

    Attributes:
        changed: The argument (position or name) that the last calls changed in place, or None.
        ended: How its process last ended, or None when it never did.
    """

    def __init__(self, client: WorkerClient, id: str, name: str, pieces: list[Piece]):
        self.client, self.id, self.name, self.pieces = client, id, name, pieces
        self.changed: int | str | None = None
        self.ended: Failure | None = None
        self._deaths = 0
        self._loaded = False  # the pieces have run in the client's present child
        self._failures: dict[str, Failure] = {}  # by the piece's file: why it did not run to its end

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.send("call", name=self.name, args=args, kwargs=kwargs)

    def gradients(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Result and gradients; see `Subject.gradients`."""
        return self.send("gradients", name=self.name, args=args, kwargs=kwargs)

    def new(self, *args: Any, **kwargs: Any) -> RemoteHandle:
        """Make an object of the class."""
        return RemoteHandle(self, self.send("new", name=self.name, args=args, kwargs=kwargs))

    def send(self, op: str, **content: Any) -> Any:
        """Ask the child, after its pieces have run; Failed when there is no answer."""
        try:
            self._load()
            return self._ask(op, **content)
        except Failed as failed:
            if failed.failure.outcome is Outcome.NOT_DEFINED:
                raise Failed(self._why_not_defined() or failed.failure) from None
            raise
        finally:
            if self.changed is None and self._loaded:
                self.changed = self.client.changed

    def _load(self) -> None:
        """Run all pieces in order in a fresh child, and those that failed once more: cells may have been moved."""
        while not self._loaded:
            if self.ended and self._deaths >= MOST_DEATHS:
                raise Failed(self.ended)
            self.client.fork()
            self._loaded = True
            waiting = [piece for piece in self.pieces if not piece.deadly]
            for _ in range(2):
                waiting = [piece for piece in waiting if self._loaded and not self._run(piece)]

    def _run(self, piece: Piece) -> bool:
        """Run a piece; whether it came to its end."""
        try:
            self._ask("run", source=piece.source, file=piece.file, only=piece.only)
        except Failed as failed:
            self._failures[piece.file] = failed.failure
            if not self._loaded:
                piece.deadly = failed.failure
            return False
        self._failures.pop(piece.file, None)
        return True

    def _ask(self, op: str, **content: Any) -> Any:
        limits = self.client.limits
        try:
            return self.client.ask(op, limits.call_after_death if self._deaths else limits.call, **content)
        except Failed as failed:
            if failed.failure.outcome in DEADLY:
                self._deaths, self.ended, self._loaded = self._deaths + 1, failed.failure, False
            raise

    def _why_not_defined(self) -> Failure | None:
        """What kept the cell of the exercise from defining its name."""
        own = next((piece for piece in self.pieces if piece.id == self.id), None)
        return (own.deadly or self._failures.get(own.file)) if own else None


class RemoteHandle:
    """A `Handle` for an object that lives in a worker."""

    def __init__(self, subject: RemoteSubject, number: Any):
        self.subject, self.number = subject, number

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call a method, `forward` unless `method` names another."""
        return self._send("call", args, kwargs)

    def gradients(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Result and gradients, also for the parameters; see `LocalHandle.gradients`."""
        return self._send("gradients", args, kwargs)

    def get_state(self) -> dict[str, Any]:
        """The parameters of a module, the attributes of any other object."""
        return self._send("get_state", (), {})

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self._send("set_state", (state,), {})

    def _send(self, what: str, args: tuple, kwargs: dict) -> Any:
        return self.subject.send("on_handle", handle=self.number, what=what, args=args, kwargs=kwargs)
