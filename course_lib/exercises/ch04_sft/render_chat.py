"""A conversation as one text, in the form that is called ChatML."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def render_chat(messages, ask=False):
    text = ""
    for message in messages:
        text += f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"
    if ask:
        text += "<|im_start|>assistant\n"
    return text


def cases(rng):
    def say(role, content):
        return {"role": role, "content": content}

    n = torch.randint(100, (1,), generator=rng).item()
    hello = [say("user", "Hello"), say("assistant", f"Hello, number {n}.")]
    return [
        Case("one question, to be answered", ([say("user", "flip a b c d")],), {"ask": True}),
        Case("a question and its reply, for training", (hello,)),
        Case("three turns, then a reply is asked for", ([*hello, say("user", "More.\n  Much more.")],), {"ask": True}),
        Case("what the system says comes first", ([say("system", "Be brief."), say("user", f"{n}?")], False)),
        Case("blanks and a line break at the ends of a text", ([say("user", "  a b\n"), say("assistant", " b a ")],)),
        Case("asked for after a reply of the assistant", (hello,), {"ask": True}),
        Case(
            "asked for, though nobody has spoken but the system", ([say("system", "Greet the user.")],), {"ask": True}
        ),
    ]


@alternative
def by_joining(messages, ask=False):
    turns = [f"{m['role']}\n{m['content']}<|im_end|>\n" for m in messages] + ["assistant\n"] * bool(ask)
    return "".join("<|im_start|>" + turn for turn in turns)


@mistake("Nearly: the role has a line of its own. Put a line break (`\\n`) after it.")
def no_line_break_after_the_role(messages, ask=False):
    text = "".join(f"<|im_start|>{m['role']}{m['content']}<|im_end|>\n" for m in messages)
    return text + ("<|im_start|>assistant" if ask else "")


@mistake(
    "Nearly: a line break comes after each `<|im_end|>`. A model that was trained with it does worse on a text without."
)
def no_line_break_after_the_turn(messages, ask=False):
    return render_chat(messages, ask).replace("<|im_end|>\n", "<|im_end|>")


@mistake(
    "Nearly: each `<|im_end|>` has a line break after it, and so has `assistant` in the opening. Here both are missing."
)
def no_line_break_after_the_turn_and_the_opening(messages, ask=False):
    text = render_chat(messages) + ("<|im_start|>assistant" if ask else "")
    return text.replace("<|im_end|>\n", "<|im_end|>")


@mistake("There are no line breaks here. Each turn has two: one after the role, and one after `<|im_end|>`.")
def no_line_breaks(messages, ask=False):
    text = "".join(f"<|im_start|>{m['role']}{m['content']}<|im_end|>" for m in messages)
    return text + ("<|im_start|>assistant" if ask else "")


NO_LAST_LINE_BREAK = (
    "Nearly: the last line break is missing. Turns are not joined by line breaks; each one ends with its own, the last "
    "one too."
)


@mistake(NO_LAST_LINE_BREAK)
def no_last_line_break(messages, ask=False):
    return render_chat(messages, ask).removesuffix("\n")


@mistake(NO_LAST_LINE_BREAK)
def joined_by_line_breaks(messages, ask=False):
    return render_chat(messages, ask) if ask else render_chat(messages).removesuffix("\n")


@mistake(
    "Nearly: the line break after the last turn is missing, also where the opening follows. Turns are not joined by "
    "line breaks; each one ends with its own, the last one too."
)
def joined_before_the_opening(messages, ask=False):
    return render_chat(messages).removesuffix("\n") + ("<|im_start|>assistant\n" if ask else "")


@mistake("Nearly: a line break is missing after `assistant` in the opening. It comes after every role, there as well.")
def no_line_break_in_the_opening(messages, ask=False):
    return render_chat(messages) + ("<|im_start|>assistant" if ask else "")


@mistake(
    "With `ask=True` the opening of the assistant's turn is missing at the end. Without it, the model might go on with "
    "another turn of the user."
)
def never_asks(messages, ask=False):
    return render_chat(messages)


@mistake(
    "This opens a turn of the assistant even with `ask=False`. In training, the model would then see a second reply "
    "begin after the reply. Add the opening only if `ask` is True."
)
def always_asks(messages, ask=False):
    return render_chat(messages, True)


@mistake("The blanks and line breaks at the ends of a text are gone. The template takes a content as it is.")
def content_stripped(messages, ask=False):
    return render_chat([{**message, "content": message["content"].strip()} for message in messages], ask)


@mistake("With `ask=True` the opening stands at the end whoever spoke last. Here it does only where that was the user.")
def asks_after_the_user_alone(messages, ask=False):
    return render_chat(messages, ask and messages[-1]["role"] == "user")


@mistake(
    'Without `ask`, nothing is left of the text: `text + opening if ask else ""` means `(text + opening) if ask else '
    '""`. Put the brackets around the second half, or write an `if` of its own.'
)
def nothing_unless_asked(messages, ask=False):
    return render_chat(messages, ask) if ask else ""


@mistake(
    "The opening of the assistant's turn follows every message here. It comes once, after the last one: add it after "
    "the loop."
)
def asks_after_each_message(messages, ask=False):
    return "".join(render_chat([message], ask) for message in messages)


CLOSES_THE_OPENED_TURN = (
    "With `ask=True` the turn of the assistant is opened and closed at once, which makes an empty reply. Stop after "
    "the line break behind `assistant`: the model writes the rest."
)


@mistake(CLOSES_THE_OPENED_TURN)
def closes_the_opened_turn(messages, ask=False):
    return render_chat([*messages, {"role": "assistant", "content": ""}] if ask else messages)


@mistake(CLOSES_THE_OPENED_TURN)
def appends_the_opened_turn_and_closes_it(messages, ask=False):
    if ask:
        messages.append({"role": "assistant", "content": ""})
    return render_chat(messages)


@mistake(
    "Only the last message is left. `text = ...` begins anew in each round; `text += ...` adds a turn to what is there."
)
def last_message_alone(messages, ask=False):
    return render_chat(messages[-1:], ask)


@mistake("The opening of the assistant's turn comes first here. It stands at the *end* of the text: add it last.")
def opening_comes_first(messages, ask=False):
    return ("<|im_start|>assistant\n" if ask else "") + render_chat(messages)


@mistake("With `ask=True` this opens a turn of the user. It is the assistant who is to speak next.")
def opens_a_turn_of_the_user(messages, ask=False):
    return render_chat(messages) + ("<|im_start|>user\n" if ask else "")


@mistake(
    "There is a line break before each `<|im_end|>`. The template adds none there: the content ends where its own "
    "text ends."
)
def line_break_before_the_end(messages, ask=False):
    return render_chat(messages, ask).replace("<|im_end|>", "\n<|im_end|>")


@mistake("A line break is written `\\n`, with a backslash. `/n` is a slash and the letter n.")
def slash_for_backslash(messages, ask=False):
    text = "".join(f"<|im_start|>{m['role']}/n{m['content']}<|im_end|>/n" for m in messages)
    return text + ("<|im_start|>assistant/n" if ask else "")


@mistake(
    "The curly brackets stand in the text as you typed them. With an `f` before the quotes, Python puts the role and "
    "the content in their place."
)
def braces_left(messages, ask=False):
    text = "<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" * len(messages)
    return text + ("<|im_start|>assistant\n" if ask else "")


@mistake(
    "User and assistant take turns here, whatever the messages say. A conversation may begin with the system: read "
    'each role from its message, `message["role"]`.'
)
def roles_by_turns(messages, ask=False):
    turns = [{**message, "role": ("user", "assistant")[i % 2]} for i, message in enumerate(messages)]
    return render_chat(turns, ask)


@mistake("The content comes before the role. A turn begins with its role, on a line of its own; then the content.")
def content_before_the_role(messages, ask=False):
    text = "".join(f"<|im_start|>{m['content']}\n{m['role']}<|im_end|>\n" for m in messages)
    return text + ("<|im_start|>assistant\n" if ask else "")


@mistake("It is the other way round: the assistant's turn is opened with `ask=True`, and not without.")
def asks_if_not_asked(messages, ask=False):
    return render_chat(messages, not ask)


@mistake("What the system says is left out. It is a turn like the others, and comes where it stands.")
def system_left_out(messages, ask=False):
    return render_chat([message for message in messages if message["role"] != "system"], ask)


@mistake("`<|im_end|>` is missing. Without it the model never sees where a turn ends, and never learns to stop.")
def turns_without_an_end(messages, ask=False):
    return render_chat(messages, ask).replace("<|im_end|>", "")


@mistake("There are two line breaks after each `<|im_end|>`, so an empty line stands between the turns. Write one.")
def empty_lines_between_the_turns(messages, ask=False):
    return render_chat(messages, ask).replace("<|im_end|>\n", "<|im_end|>\n\n")


@mistake("The opening lacks its `<|im_start|>`. It begins as every turn does: `<|im_start|>`, the role, a line break.")
def opening_without_its_mark(messages, ask=False):
    return render_chat(messages) + ("assistant\n" if ask else "")


EXERCISE = Exercise(
    id="render_chat",
    title="A conversation as one text",
    points=1,
    minutes=6,
    difficulty=1,
    kind="code",
    hints=(
        "Go through the messages and add one turn after the other to a string. What is on which line?",
        "A turn is one f-string with two line breaks in it, `\\n`: one behind the role, one behind `<|im_end|>`. The "
        "opening is not a turn of the loop: it comes after it, if `ask` is True.",
    ),
    reference=render_chat,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, A conversation is one text",
)
