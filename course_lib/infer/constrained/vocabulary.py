"""A vocabulary as one tree, and the states to which all its tokens lead."""

import functools
from collections.abc import Sequence

import numpy as np

from course_lib.infer.constrained.automaton import Automaton


class Vocabulary:
    """The tokens as a tree in which those with the same beginning share a path, walked level by level in numpy."""

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self.tokens = tokens
        lengths = np.array([len(token) for token in tokens])
        ends = np.cumsum(lengths)
        text = np.frombuffer(b"".join(tokens), dtype=np.uint8)
        self.node = np.zeros(len(tokens), dtype=np.int64)  # where each token ends; 0 is the root
        self.levels: list[tuple[np.ndarray, np.ndarray]] = []  # of every next node: the node before it, and the byte
        n_nodes = 1
        for depth in range(int(lengths.max(initial=0))):
            longer = np.flatnonzero(lengths > depth)
            paths = self.node[longer] * 256 + text[ends[longer] - lengths[longer] + depth]
            distinct, which = np.unique(paths, return_inverse=True)
            self.levels.append((distinct // 256, distinct % 256))
            self.node[longer] = n_nodes + which
            n_nodes += len(distinct)
        self.n_nodes = n_nodes

    def states(self, automaton: Automaton, state: int) -> np.ndarray:
        """The state to which every token leads; a token without bytes leads nowhere."""
        reached = np.zeros(self.n_nodes, dtype=np.int32)
        reached[0] = state
        n = 1
        for parents, byte in self.levels:
            before = reached[parents]
            for unknown in np.unique(before[~automaton.filled[before]]):
                automaton.fill(int(unknown))
            reached[n : n + len(parents)] = automaton.table[before, byte]
            n += len(parents)
        reached[0] = 0
        return reached[self.node]


@functools.lru_cache(maxsize=8)
def vocabulary(tokens: tuple[bytes, ...]) -> Vocabulary:
    """The tree of a vocabulary, made once."""
    return Vocabulary(tokens)
