"""A small network of one's own: the next letter from the last few."""

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


class LetterModel(nn.Module):
    def __init__(self, n_symbols, n_context, d_embedding, d_hidden):
        super().__init__()
        self.embedding = nn.Embedding(n_symbols, d_embedding)
        self.hidden = nn.Linear(n_context * d_embedding, d_hidden)
        self.output = nn.Linear(d_hidden, n_symbols)

    def forward(self, ids):
        x = self.embedding(ids)  # batch, n_context, d_embedding
        x = x.flatten(1)  # batch, n_context * d_embedding
        x = torch.relu(self.hidden(x))  # batch, d_hidden
        return self.output(x)  # batch, n_symbols


def cases(rng):
    def drawn(name, batch, n_symbols, n_context, d_embedding, d_hidden):
        shapes = {
            "embedding.weight": (n_symbols, d_embedding),
            "hidden.weight": (d_hidden, n_context * d_embedding),
            "hidden.bias": (d_hidden,),
            "output.weight": (n_symbols, d_hidden),
            "output.bias": (n_symbols,),
        }
        weights = {key: torch.randn(shape, generator=rng) for key, shape in shapes.items()}
        ids = torch.randint(n_symbols, (batch, n_context), generator=rng)
        return Case(name, ((n_symbols, n_context, d_embedding, d_hidden), weights, ids))

    return [
        drawn("one text, two letters", 1, 4, 2, 3, 5),
        drawn("3 texts, 4 letters each", 3, 6, 4, 2, 8),
        drawn("all sizes alike", 4, 4, 4, 4, 4),
    ]


def run_case(subject, sizes, weights, ids):
    """Make a model, give it these weights, then compare its scores and every gradient."""
    model = subject.new(*sizes)
    model.set_state(weights)
    return model.gradients(ids)


@alternative
class InOneLine(nn.Module):
    def __init__(self, n_symbols, n_context, d_embedding, d_hidden):
        super().__init__()
        self.output = nn.Linear(d_hidden, n_symbols)
        self.hidden = nn.Linear(n_context * d_embedding, d_hidden)
        self.embedding = nn.Embedding(n_symbols, d_embedding)

    def forward(self, letters):
        return self.output(F.relu(self.hidden(self.embedding(letters).reshape(len(letters), -1))))


@alternative
class ByHand(nn.Module):
    def __init__(self, n_symbols, n_context, d_embedding, d_hidden):
        super().__init__()
        self.embedding = nn.Embedding(n_symbols, d_embedding)
        self.hidden = nn.Linear(d_embedding * n_context, d_hidden)
        self.output = nn.Linear(d_hidden, n_symbols)

    def forward(self, ids):
        x = torch.cat([self.embedding.weight[ids[:, i]] for i in range(ids.shape[1])], dim=1)
        x = (x @ self.hidden.weight.T + self.hidden.bias).clamp(min=0)
        return x @ self.output.weight.T + self.output.bias


@mistake("The relu is missing: two linear layers in a row are no more than one. Put it after `hidden`.")
class NoRelu(LetterModel):
    def forward(self, ids):
        return self.output(self.hidden(self.embedding(ids).flatten(1)))


OTHER_CURVE = (
    "Between `hidden` and `output` stands another function than relu, which sets negative numbers to 0, no more."
)


@mistake(OTHER_CURVE)
class Sigmoid(LetterModel):
    def forward(self, ids):
        return self.output(torch.sigmoid(self.hidden(self.embedding(ids).flatten(1))))


@mistake(OTHER_CURVE)
class Tanh(LetterModel):
    def forward(self, ids):
        return self.output(torch.tanh(self.hidden(self.embedding(ids).flatten(1))))


@mistake(OTHER_CURVE)
class Gelu(LetterModel):
    def forward(self, ids):
        return self.output(F.gelu(self.hidden(self.embedding(ids).flatten(1))))


@mistake("The relu comes last and cuts off negative scores. It belongs between `hidden` and `output`.")
class ReluLast(LetterModel):
    def forward(self, ids):
        return torch.relu(self.output(self.hidden(self.embedding(ids).flatten(1))))


@mistake("These are probabilities. Return the scores: the loss takes the softmax by itself.")
class Probabilities(LetterModel):
    def forward(self, ids):
        return self.output(torch.relu(self.hidden(self.embedding(ids).flatten(1)))).softmax(-1)


@mistake("The embeddings of the letters are put together in the wrong order: first letter first, as `flatten(1)` does.")
class LastLetterFirst(LetterModel):
    def forward(self, ids):
        return self.output(torch.relu(self.hidden(self.embedding(ids.flip(1)).flatten(1))))


@mistake("The numbers of all letters are mixed up: flatten (batch, letters, numbers) as it is, without a transpose.")
class Transposed(LetterModel):
    def forward(self, ids):
        return self.output(torch.relu(self.hidden(self.embedding(ids).transpose(1, 2).flatten(1))))


@mistake("`flatten()` joins the texts of the batch, too. `flatten(1)` leaves axis 0 alone: one row for each text.")
class FlattensTheBatch(LetterModel):
    def forward(self, ids):
        return self.output(torch.relu(self.hidden(self.embedding(ids).flatten())))


@mistake("There is a relu too many: none before `hidden`.")
class ReluTwice(LetterModel):
    def forward(self, ids):
        return self.output(torch.relu(self.hidden(torch.relu(self.embedding(ids).flatten(1)))))


EXERCISE = Exercise(
    id="letter_model",
    title="A network of your own",
    points=4,
    minutes=15,
    difficulty=2,
    kind="code",
    hints=(
        "In `__init__`, `super().__init__()` comes first, then the three parts. How many numbers does `hidden` "
        "read? In `forward`, print the shape after each step: axis 0 is the batch all the way.",
        "The arrows of n_context letters stand side by side: so many numbers does `hidden` read. "
        "`self.embedding(ids)` has three axes, and `flatten(1)` leaves two. relu stands between `hidden` and "
        "`output`.",
    ),
    reference=LetterModel,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Primer, A network of your own",
    rtol=1e-4,
    atol=1e-4,
)
