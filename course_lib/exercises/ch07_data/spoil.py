"""Noise, and a control for it: the same clean documents, without the noise."""

import math

import torch

from course_lib.exercises.spec import (
    Case,
    Exercise,
    WrongAnswer,
    alternative,
    alternatives_in,
    in_words,
    mistake,
    mistakes_in,
)


def spoil(clean, noise, share, seed):
    n = len(clean)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    is_noise = torch.zeros(n, dtype=torch.bool)
    is_noise[order[: round(share * n)]] = True
    return {"mixed": torch.where(is_noise[:, None], noise, clean), "control": clean[~is_noise]}


def cases(rng):
    def documents(n, length):
        # Clean tokens are even and noise is odd, and no two documents are the same.
        clean = 2 * torch.randint(500, (n, length), generator=rng)
        clean[:, 0] = 2 * torch.arange(n)
        noise = 2 * torch.randint(500, (n, length), generator=rng) + 1
        noise[:, 0] = 2 * torch.arange(n) + 1
        return clean, noise

    def whole():
        return int(torch.randint(2, 10**6, (), generator=rng))

    return [
        Case("40 documents, half of them noise, seed 0", (*documents(40, 8), 0.5, 0)),
        Case("61 documents, a quarter noise: 15.25 of them, so 15", (*documents(61, 5), 0.25, 1)),
        Case("50 documents, three in five noise, another seed", (*documents(50, 6), 0.6, whole())),
        Case("78 documents, one in ten noise: 7.8, so 8", (*documents(78, 4), 0.1, whole())),
    ]


def run_case(subject, clean, noise, share, seed):
    """Look at what was made of whom, not at which documents: any random choice is right."""
    answer = subject(clean, noise, share, seed)
    if not isinstance(answer, dict) or set(answer) != {"mixed", "control"}:
        raise WrongAnswer('return a dict with the keys "mixed" and "control".')
    for name, documents in answer.items():
        if not isinstance(documents, torch.Tensor) or documents.dim() != 2 or documents.shape[1:] != clean.shape[1:]:
            raise WrongAnswer(f'"{name}" has to be a tensor of documents, as long as those of `clean`.')
        if documents.dtype != clean.dtype:
            raise WrongAnswer(f'"{name}" has to be of the type of `clean`, {clean.dtype}, not {documents.dtype}.')
    seen = seen_from_outside(answer["mixed"], answer["control"], clean, noise, share)
    if seen != RIGHT:
        return seen
    others, again = subject(clean, noise, share, seed + 1), subject(clean, noise, share, seed)
    if not torch.equal(answer["mixed"], again["mixed"]):
        return "another choice each time"
    return "the same choice for every seed" if torch.equal(answer["mixed"], others["mixed"]) else seen


RIGHT = "a random share is noise, and the control has the rest"


def seen_from_outside(mixed, control, clean, noise, share):
    """Describe the two: answers with the same fault may have drawn other documents at random."""

    def numbers(documents, pool):
        # Which documents of the pool these are, in order; -1 for one that is none of them.
        same = (documents[:, None] == pool).all(-1)
        return torch.where(same.any(1), same.int().argmax(1), -1)

    n, wanted = len(clean), round(share * len(clean))
    in_mixed, in_control, of_noise = numbers(mixed, clean), numbers(control, clean), numbers(mixed, noise)
    if ((in_mixed < 0) & (of_noise < 0)).any():
        return "mixed has documents that are neither clean nor noise"
    if (in_control < 0).any():
        return "the control is not clean"
    if len(mixed) != n:
        return f"mixed has {'more' if len(mixed) > n else 'fewer'} documents than clean"
    if (of_noise >= 0).sum() != wanted:
        return "another share of noise"
    if len(of_noise.unique()) != wanted + (wanted < n):  # with the -1 of those that are clean
        return "mixed has noise documents twice"
    kept = in_mixed[in_mixed >= 0]
    if len(kept.unique()) != len(kept):
        return "mixed has clean documents twice"
    if len(in_control) != len(in_control.unique()):
        return "the control has documents twice"
    if len(in_control) != n - wanted:
        return f"the control has {'more' if len(in_control) > n - wanted else 'fewer'} clean documents than mixed"
    if not torch.equal(kept.sort().values, in_control.sort().values):
        return "the control has other clean documents than mixed"
    gone = torch.ones(n, dtype=torch.bool)
    gone[kept] = False
    block = gone.nonzero()[:, 0]
    if len(block) and block[-1] - block[0] + 1 == len(block):
        return "the documents that go are neighbours"
    return RIGHT


@alternative
def one_by_one(clean, noise, share, seed):
    torch.manual_seed(seed)
    gone = set(torch.randperm(len(clean))[: round(share * len(clean))].tolist())
    mixed = [noise[i] if i in gone else clean[i] for i in range(len(clean))]
    control = [clean[i] for i in range(len(clean)) if i not in gone]
    return {"mixed": torch.stack(mixed), "control": torch.stack(control)}


@alternative
def shuffled_first(clean, noise, share, seed):
    # Another order of the documents, and the noise at the end.
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
    n_noise = round(share * len(clean))
    rest = clean[order[n_noise:]]
    return {"mixed": torch.cat([rest, noise[order[:n_noise]]]), "control": rest.clone()}


def _chosen(clean, share, seed):
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
    return torch.isin(torch.arange(len(clean)), order[: round(share * len(clean))])


@mistake(
    "The control has all of the clean documents. Then it differs from the mixed data in two things: it has no noise, "
    "and more that is clean. Give it only the clean documents that the mixed data have."
)
def all_clean(clean, noise, share, seed):
    return spoil_alike(clean, noise, share, seed) | {"control": clean.clone()}


def spoil_alike(clean, noise, share, seed):
    chosen = _chosen(clean, share, seed)
    return {"mixed": torch.where(chosen[:, None], noise, clean), "control": clean[~chosen]}


@mistake(
    "Noise is added here, and all of the clean documents stay. Then the mixed data are longer. Put noise in the place "
    "of clean documents."
)
def noise_on_top(clean, noise, share, seed):
    chosen = _chosen(clean, share, seed)
    return {"mixed": torch.cat([clean, noise[chosen]]), "control": clean.clone()}


@mistake(
    "The control has as many clean documents as the mixed data, but others. Then a difference may lie in which "
    "documents they are. Take the very same ones."
)
def other_documents(clean, noise, share, seed):
    mixed = spoil_alike(clean, noise, share, seed)["mixed"]
    return {"mixed": mixed, "control": clean[~_chosen(clean, share, seed + 1)]}


@mistake(
    "The first documents become noise. If the data have an order, by topic or by date, a whole part of them is gone. "
    "Choose at random."
)
def the_first_ones(clean, noise, share, seed):
    n = round(share * len(clean))
    return {"mixed": torch.cat([noise[:n], clean[n:]]), "control": clean[n:]}


@mistake(
    "One document of noise comes again and again here. A model learns what it reads twice; take different ones, as "
    "`noise[chosen]` does."
)
def one_noise_document(clean, noise, share, seed):
    return spoil_alike(clean, noise[:1].expand_as(noise), share, seed)


@mistake(
    "The number of noise documents is cut off or rounded up. Take the nearest whole number, "
    "`round(share * len(clean))`: 7.8 documents are 8, and 15.25 are 15."
)
def cut_off(clean, noise, share, seed):
    return spoil_alike(clean, noise, int(share * len(clean)) / len(clean), seed)


@mistake("The control holds the noise. It should hold what is clean in the mixed data.")
def noise_as_control(clean, noise, share, seed):
    chosen = _chosen(clean, share, seed)
    return {"mixed": torch.where(chosen[:, None], noise, clean), "control": noise[chosen]}


@mistake("`share` is the share of noise, not of what stays clean.")
def share_exchanged(clean, noise, share, seed):
    return spoil_alike(clean, noise, 1 - share, seed)


@mistake("Single tokens become noise here, and hardly a document stays clean. Replace whole documents.")
def single_tokens(clean, noise, share, seed):
    coin = torch.rand(clean.shape, generator=torch.Generator().manual_seed(seed)) < share
    return {"mixed": torch.where(coin, noise, clean), "control": clean[~_chosen(clean, share, seed)]}


@mistake(
    "The number of documents that become noise is not `round(share * len(clean))`, as when each becomes noise by a "
    "coin flip of its own, or when `torch.randint` draws one twice. Take so many from a random order, `torch.randperm`."
)
def a_coin_for_each(clean, noise, share, seed):
    n_noise = round(share * len(clean))
    for number in range(seed, seed + 100):  # a flip that does not happen to hit the share
        coin = torch.rand(len(clean), generator=torch.Generator().manual_seed(number)) < share
        if coin.sum() != n_noise:
            break
    return {"mixed": torch.where(coin[:, None], noise, clean), "control": clean[~coin]}


@mistake(
    "Every seed gives the same choice: documents at regular places, or a random order without a generator of this "
    "seed. Choose with `torch.Generator().manual_seed(seed)`."
)
def regular_places(clean, noise, share, seed):
    n, wanted = len(clean), round(share * len(clean))
    chosen = torch.isin(torch.arange(n), torch.arange(wanted) * n // wanted)
    return {"mixed": torch.where(chosen[:, None], noise, clean), "control": clean[~chosen]}


@mistake(
    "The control has clean documents twice, perhaps to be as long as the mixed data. Then it differs in two things: no "
    "noise, and more that is clean. Give it the clean documents of `mixed`, each once."
)
def filled_up(clean, noise, share, seed):
    both = spoil_alike(clean, noise, share, seed)
    rest = both["control"]
    return both | {"control": torch.cat([rest] * math.ceil(len(clean) / len(rest)))[: len(clean)]}


@mistake(
    "The control has the clean documents that *went*. Then it has none in common with the mixed data. Take those that "
    "stayed."
)
def what_went(clean, noise, share, seed):
    chosen = _chosen(clean, share, seed)
    return {"mixed": torch.where(chosen[:, None], noise, clean), "control": clean[chosen]}


@mistake("`mixed` is the noise alone. It has as many documents as `clean`: the noise, and the clean ones that stay.")
def noise_alone(clean, noise, share, seed):
    chosen = _chosen(clean, share, seed)
    return {"mixed": noise[chosen], "control": clean[~chosen]}


EXERCISE = Exercise(
    id="spoil",
    title="Noise, and a control for it",
    points=3,
    minutes=12,
    difficulty=2,
    kind="design",
    hints=(
        "Where noise comes in, clean text goes out. What do you compare the mixed data with, if only the noise is to "
        "make the difference?",
        "`torch.randperm` with a generator of this seed puts the documents in a random order. The first "
        "`round(share * len(clean))` of them become noise. Which clean ones does `mixed` still have?",
    ),
    reference=spoil,
    cases=cases,
    run_case=run_case,
    remark=in_words,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 7, Noise, or less clean text?",
)
