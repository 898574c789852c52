"""The code of one exercise as a `Subject`, although it runs in a worker; its process may crash a few times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from course_lib.exercises.spec import Exercise
from course_lib.grader.cells_needed import Piece
from course_lib.grader.inside.calls import Subject
from course_lib.grader.inside.outcomes import Answer, Failure, Lost, Raised
from course_lib.grader.timed import CALL, CALL_AFTER_DEATH
from course_lib.grader.worker_client import WorkerClient

MOST_DEATHS = 2  # in the cases of one exercise; then the rest of its cases fail without being run
MOST_LEFT_OUT = 4  # of the pieces that an exercise needs, for their deaths; then none of its cases is run


class RemoteSubject(Subject):
    """A `Subject` in a child of a worker, in which the pieces of the notebook that it needs have run.

    Attributes:
        lost: How its process last ended, or None if it never did.
    """

    def __init__(self, client: WorkerClient, exercise: Exercise, pieces: list[Piece]):
        self.client, self.exercise, self.pieces = client, exercise, pieces
        self.lost: Failure | None = None
        self._deaths = 0
        self._loaded = False  # whether the pieces have run in the client's present child

    def send(self, action: str, number: int, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Do something with an object; see `Subject.send`.

        Raises:
            Failure: If there is no answer.
        """
        self._load()
        answer = self._ask("send", name=self.exercise.name, action=action, number=number, args=args, kwargs=kwargs)
        if answer.failure is None:
            return answer.value
        if answer.failure.outcome is Raised.NOT_DEFINED:
            own = [piece.failure for piece in self.pieces if piece.id == self.exercise.id and piece.failure]
            raise own[0] if own else answer.failure  # what kept the cell from defining the name
        raise answer.failure

    def _load(self) -> None:
        """Run all pieces in order in a fresh child, and those that failed once more: cells may have been moved."""
        while not self._loaded:
            left_out = [piece.failure for piece in self.pieces if piece.deadly]
            if self._deaths >= MOST_DEATHS or len(left_out) > MOST_LEFT_OUT:
                raise self.lost or left_out[0] or Failure(Lost.CRASHED)
            self.client.fork()
            self._loaded = True
            waiting = [piece for piece in self.pieces if not piece.deadly]
            for _ in range(2):
                waiting = [piece for piece in waiting if self._loaded and not self._run(piece)]

    def _run(self, piece: Piece) -> bool:
        """Run a piece, and return whether it finished without failure."""
        piece.failure = self._ask("run", source=piece.source, file=piece.file, only=piece.only).failure
        return piece.failure is None

    def _ask(self, op: str, **content: Any) -> Answer:
        answer = self.client.ask(op, CALL_AFTER_DEATH if self.lost else CALL, **content)
        if self.changed is None:
            self.changed = answer.changed
        if answer.failure and isinstance(answer.failure.outcome, Lost):
            self._deaths += op == "send"
            self.lost, self._loaded = answer.failure, False
        return answer
