"""Exercises of the lab `ch04_sft`."""

from __future__ import annotations

import torch

from course_lib.exercises.spec import Case, Exercise, call_and_differentiate, told


def render_chat(messages, ask=False):
    text = ""
    for message in messages:
        text += f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"
    if ask:
        text += "<|im_start|>assistant\n"
    return text


class _WrongChat:
    def no_line_after_role(messages, ask=False):
        """Nearly: the role stands on a line of its own, so a line break (`"\\n"`) comes after it."""
        text = "".join(f"<|im_start|>{m['role']}{m['content']}<|im_end|>\n" for m in messages)
        return text + ("<|im_start|>assistant" if ask else "")

    def no_line_after_turn(messages, ask=False):
        "Nearly: after each `<|im_end|>` comes a line break. A model that was tuned with it is lost without."
        return render_chat(messages, ask).replace("<|im_end|>\n", "<|im_end|>")

    def no_last_line(messages, ask=False):
        "Nearly: the last line break is missing. Turns are not joined by line breaks, each one ends with its own."
        return render_chat(messages, ask).removesuffix("\n")

    def no_line_after_assistant(messages, ask=False):
        "Nearly: a line break comes after `assistant` in the opening as well, as after every role."
        return render_chat(messages) + ("<|im_start|>assistant" if ask else "")

    def never_asks(messages, ask=False):
        """With `ask=True` the opening of the assistant's turn is missing. Without it, the model may write the next
        turn of the user."""
        return render_chat(messages)

    def always_asks(messages, ask=False):
        """This opens a turn of the assistant even with `ask=False`: in training, a second reply would be expected
        after the reply."""
        return render_chat(messages, True)

    def asks_after_each(messages, ask=False):
        "The opening of the assistant's turn comes once, after the last message. Here it follows every message."
        return "".join(render_chat([message], ask) for message in messages)

    def closes_the_question(messages, ask=False):
        """With `ask=True` the turn of the assistant is opened and closed at once: an empty reply. Stop after the
        line break behind `assistant`."""
        return render_chat([*messages, {"role": "assistant", "content": ""}] if ask else messages)


def _chat_cases(rng):
    def say(role, content):
        return {"role": role, "content": content}

    n = torch.randint(100, (1,), generator=rng).item()
    hello = [say("user", "Hello"), say("assistant", f"Hello, number {n}.")]
    return [
        Case("one question, to be answered", ([say("user", "flip a b c d")],), {"ask": True}),
        Case("a question and its reply, for training", (hello,)),
        Case("three turns, then a reply is asked for", ([*hello, say("user", "More.\nMuch more.")],), {"ask": True}),
        Case("what the system says comes first", ([say("system", "Be brief."), say("user", f"{n}?")], False)),
    ]


def reply_mask(ids, opening, end):
    mask = torch.zeros(len(ids), dtype=torch.bool)
    inside = False
    for i in range(len(ids)):
        mask[i] = inside
        if inside and ids[i] == end:
            inside = False
        elif not inside and i + 1 >= len(opening) and ids[i + 1 - len(opening) : i + 1].tolist() == list(opening):
            inside = True
    return mask


class _WrongMask:
    def without_end(ids, opening, end):
        "The token that ends a reply is left out. Then the model never learns to stop: it belongs to what is said."
        return reply_mask(ids, opening, end) & (ids != end)

    def with_opening(ids, opening, end):
        """The opening of the turn counts as learned here. It is written by the template, never by the model: the mask
        begins after it."""
        mask = reply_mask(ids, opening, end)
        return torch.stack([mask.roll(-back) for back in range(len(opening) + 1)]).any(0)

    def first_only(ids, opening, end):
        "Only the first reply is found. A conversation may have several, and the model learns from all of them."
        mask = reply_mask(ids, opening, end)
        return mask & ((mask & ~mask.roll(1)).cumsum(0) == 1)

    def first_token_of_opening(ids, opening, end):
        """This looks at the first token of the opening only, so the turns of the user count too. All tokens of
        `opening` have to be there, one after the other."""
        return reply_mask(ids, opening[:1], end)

    def last_token_of_opening(ids, opening, end):
        """This looks at the last token of the opening only, which a user may say as well. All tokens of `opening` have
        to be there, one after the other."""
        return reply_mask(ids, opening[-1:], end)

    def too_early(ids, opening, end):
        "The whole mask is one place too early. It marks the tokens that are *said*, not the places that foretell them."
        return reply_mask(ids, opening, end).roll(-1)

    def too_long(ids, opening, end):
        "The mask does not close again: after the `end` of a reply it is somebody else's turn."
        return reply_mask(ids, opening, end).cumsum(0) > 0

    def cut_off(ids, opening, end):
        "A reply without `end`, one that was cut off, is left out. It goes on to the last token."
        return reply_mask(ids, opening, end) & (ids == end).flip(0).cumsum(0).flip(0).bool()

    def upside_down(ids, opening, end):
        "The mask is the wrong way round: True is for what is to be *learned*, the replies."
        return ~reply_mask(ids, opening, end)


def _mask_cases(rng):
    def turns(*texts):
        ids = []
        for who, text in texts:
            ids += [1, who, *text, 2]
        return torch.tensor(ids)

    random = torch.randint(5, 12, (12,), generator=rng).tolist()
    return [
        Case("a question and a reply", (turns((3, [7, 8, 9]), (4, [9, 8])), [1, 4], 2)),
        Case("two replies", (turns((3, [7]), (4, [9, 8, 7]), (3, [5, 5]), (4, [6])), [1, 4], 2)),
        Case("the user says the assistant's name", (turns((3, [4, 7]), (4, [4, 9])), [1, 4], 2)),
        Case("a reply that was cut off", (turns((3, [7, 9]), (4, [8, 8, 6]))[:-1], [1, 4], 2)),
        Case("random turns", (turns((3, random[:4]), (4, random[4:9]), (3, random[9:]), (4, random[:3])), [1, 4], 2)),
    ]


def masked_loss(logits, ids, mask):
    log_p = logits[:, :-1].log_softmax(dim=-1)
    surprise = -log_p.gather(-1, ids[:, 1:, None])[..., 0]
    kept = mask[:, 1:].to(surprise.dtype)
    return (surprise * kept).sum() / kept.sum()


def _surprise(logits, targets):
    return -logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]


class _WrongLoss:
    def no_mask(logits, ids, mask):
        "The mask is not used: this is the loss on all tokens, those of the prompts included."
        return _surprise(logits[:, :-1], ids[:, 1:]).mean()

    def mask_not_shifted(logits, ids, mask):
        """Nearly: the tokens are shifted and the mask is not. The surprise at place t is about token t + 1, so it
        counts where `mask[:, 1:]` is True."""
        kept = mask[:, :-1].float()
        return (_surprise(logits[:, :-1], ids[:, 1:]) * kept).sum() / kept.sum()

    def divides_by_all(logits, ids, mask):
        """The sum is right, but it is divided by all tokens: a long prompt would make a small loss. Divide by the
        number of tokens that count."""
        return (_surprise(logits[:, :-1], ids[:, 1:]) * mask[:, 1:]).mean()

    def mean_of_rows(logits, ids, mask):
        """Here each row has its own mean first, so a token of a short reply weighs more than one of a long reply. Sum
        over the whole batch, then divide once."""
        kept = mask[:, 1:].float()
        return ((_surprise(logits[:, :-1], ids[:, 1:]) * kept).sum(1) / kept.sum(1)).mean()

    def first_column_divides(logits, ids, mask):
        "Nearly: the first column of the mask counts in what you divide by, and no token there is foretold."
        return masked_loss(logits, ids, mask) * mask[:, 1:].sum() / mask.sum()

    def adds_up(logits, ids, mask):
        "This is the sum over the tokens that count. The mean is asked for."
        return (_surprise(logits[:, :-1], ids[:, 1:]) * mask[:, 1:]).sum()

    def adds_up_rows(logits, ids, mask):
        "This is the sum over each row, then the mean of the rows. Divide the sum over all by the tokens that count."
        return (_surprise(logits[:, :-1], ids[:, 1:]) * mask[:, 1:]).sum(1).mean()

    def masks_logits(logits, ids, mask):
        "The mask multiplies the logits: where they are 0 a token still costs log(vocabulary). Leave such places out."
        return _surprise(logits[:, :-1] * mask[:, 1:, None], ids[:, 1:]).mean()

    def shifted_back(logits, ids, mask):
        "The shift goes the wrong way: the logits at place t are about token t + 1, not t - 1."
        kept = mask[:, :-1].float()
        return (_surprise(logits[:, 1:], ids[:, :-1]) * kept).sum() / kept.sum()

    def wrong_sign(logits, ids, mask):
        "The sign is wrong: this is the mean of log p, which is below zero. A surprise is -log p."
        return -masked_loss(logits, ids, mask)

    def no_shift(logits, ids, mask):
        """Each place is scored on the token that stands there, which the model has just read: the logits at place t are
        about token t + 1."""
        kept = mask.float()
        return (_surprise(logits, ids) * kept).sum() / kept.sum()


def _loss_cases(rng):
    def case(name, batch, length, vocab, starts):
        logits = torch.randn(batch, length, vocab, generator=rng) * 2
        mask = torch.arange(length) >= torch.tensor(starts)[:, None]
        return Case(name, (logits, torch.randint(vocab, (batch, length), generator=rng), mask))

    return [
        case("one conversation", 1, 7, 5, [4]),
        case("three, with replies of 5, 2 and 1 tokens", 3, 8, 6, [3, 6, 7]),
        case("two, of which one has the longer reply", 2, 6, 9, [1, 4]),
        case("two texts of which every token is in the mask, the first one too", 2, 5, 7, [0, 0]),
    ]


def score_replies(replies, answers, letters):
    length = len(answers[0])
    good = [len(reply) == length and all(letter in letters for letter in reply) for reply in replies]
    right = [list(reply) == list(answer) for reply, answer in zip(replies, answers, strict=True)]
    return {"format": sum(good) / len(replies), "right": sum(right) / len(replies)}


class _WrongScore:
    def any_length(replies, answers, letters):
        "A reply of the wrong length counts as well formed here: it needs as many letters as the answer."
        return {
            "format": sum(all(x in letters for x in reply) for reply in replies) / len(replies),
            "right": score_replies(replies, answers, letters)["right"],
        }

    def any_token(replies, answers, letters):
        "Only the length is asked for here. A well-formed reply consists of letters throughout."
        return {
            "format": sum(len(r) == len(a) for r, a in zip(replies, answers, strict=True)) / len(replies),
            "right": score_replies(replies, answers, letters)["right"],
        }

    def beginning_is_enough(replies, answers, letters):
        "A reply that goes on after the right answer counts as right here. It has to stop: compare the whole."
        hits = [list(reply[: len(answer)]) == list(answer) for reply, answer in zip(replies, answers, strict=True)]
        return {"format": score_replies(replies, answers, letters)["format"], "right": sum(hits) / len(hits)}

    def as_far_as_it_goes(replies, answers, letters):
        "`zip` stops at the end of the shorter list, so an empty reply counts as right here. Compare the lists."
        hits = [all(a == b for a, b in zip(*both, strict=False)) for both in zip(replies, answers, strict=True)]
        return {"format": score_replies(replies, answers, letters)["format"], "right": sum(hits) / len(hits)}

    def same_letters(replies, answers, letters):
        "This compares the letters without their order. Reversed and sorted have the same letters."
        hits = [sorted(reply) == sorted(answer) for reply, answer in zip(replies, answers, strict=True)]
        return {"format": score_replies(replies, answers, letters)["format"], "right": sum(hits) / len(hits)}

    def among_well_formed(replies, answers, letters):
        "The share of right ones is taken among the well-formed replies here. Take it among all of them."
        score = score_replies(replies, answers, letters)
        return {"format": score["format"], "right": score["right"] / max(score["format"], 1e-9)}


def _score_cases(rng):
    letters = ["a", "b", "c", "d"]
    answers = [[letters[i] for i in torch.randint(4, (3,), generator=rng)] for _ in range(8)]
    replies = [list(answer) for answer in answers]
    replies[0] = replies[0] + ["a"]
    replies[1] = replies[1][:2]
    replies[2] = [";", *replies[2][1:]]
    replies[3] = [letters[(letters.index(x) + 1) % 4] for x in replies[3]]
    five = [["a", "b"], ["b", "a"], ["a", "b", ";"], ["user", "b"], []]
    return [
        Case("five replies", (five, [["a", "b"]] * 5, letters), expected={"format": 0.4, "right": 0.2}),
        Case("eight, four of them spoilt", (replies, answers, letters), expected={"format": 0.625, "right": 0.5}),
        Case("nothing but letters", ([["a", "b", "c", "d"], ["a"]], [["a"], ["b"]], letters)),
        Case("all right", (answers, answers, letters), expected={"format": 1.0, "right": 1.0}),
    ]


EXERCISES = [
    Exercise(
        id="render_chat",
        title="A conversation as one text",
        points=1,
        minutes=6,
        difficulty=1,
        hints=(
            "Go through the messages and add one turn after the other to a string. What stands on which line?",
            "A turn is `f\"<|im_start|>{m['role']}\\n{m['content']}<|im_end|>\\n\"`; with `ask`, add "
            '`"<|im_start|>assistant\\n"` at the end.',
        ),
        reference=render_chat,
        cases=_chat_cases,
        mistakes=told(_WrongChat),
        see="Chapter 4, Learning from examples",
    ),
    Exercise(
        id="reply_mask",
        title="What is to be learned",
        points=3,
        minutes=15,
        difficulty=3,
        hints=(
            "Walk through the tokens and keep one thing in mind: am I inside a reply? It begins after `opening`, and "
            "the end token is its last one.",
            "At token i: `mask[i] = inside`; then, if inside and `ids[i] == end`: inside is False; otherwise if "
            "the last `len(opening)` tokens up to i are `opening`: inside is True.",
        ),
        reference=reply_mask,
        cases=_mask_cases,
        mistakes=told(_WrongMask),
        see="Chapter 4, Learning from examples",
    ),
    Exercise(
        id="masked_loss",
        title="The loss on replies",
        points=2,
        minutes=10,
        difficulty=2,
        hints=(
            "First the surprise at every token but the first, as in pre-training. Then keep those where the *token* "
            "that is foretold is in the mask.",
            "`surprise = -logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]`, then "
            "`(surprise * mask[:, 1:]).sum() / mask[:, 1:].sum()`.",
        ),
        reference=masked_loss,
        cases=_loss_cases,
        run_case=call_and_differentiate,
        mistakes=told(_WrongLoss),
        see="Chapter 4, Learning from examples",
    ),
    Exercise(
        id="score_replies",
        title="Well formed, and right",
        points=2,
        minutes=8,
        difficulty=1,
        hints=(
            "Two questions about each reply: is it of the right length and made of letters? Is it equal to its answer?",
            "`right = sum(list(r) == list(a) for r, a in zip(replies, answers)) / len(replies)`.",
        ),
        reference=score_replies,
        cases=_score_cases,
        mistakes=told(_WrongScore),
        see="Chapter 4, Learning from examples",
    ),
]
