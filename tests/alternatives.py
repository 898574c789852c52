"""Right answers written another way than the reference: the checks must test the result, not the style.

`ALTERNATIVES[id]` lists at least one for every exercise of the course.
"""

ALTERNATIVES: dict[str, list] = {}


def alternative(id):
    """Decorator: a differently written right answer to the exercise `id`."""

    def add(solution):
        ALTERNATIVES.setdefault(id, []).append(solution)
        return solution

    return add
