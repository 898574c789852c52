"""`course` with presets of seconds on a corpus of a few sentences; as a program, without network and some modules.

Run: python tests/tiny_recipes.py train moe --out DIR, with BLOCKED and SLOW in the environment where wanted.
"""

import os
import random
import socket
import sys
import time
from dataclasses import replace

SIZES = {"context": 16, "d_model": 16, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "head_dim": 8, "d_ff": 16}
VOCABULARY = 300
STEPS = 30
SAVE_EVERY = 10  # steps


def articles(language="en"):
    """Articles of such regular sentences that a tiny model soon predicts them better than word frequencies do."""
    from course_lib.data.corpora.wikipedia import Article

    draw = random.Random(language)
    kinds = [("The {} is a fish. ", ["salmon", "carp", "pike", "eel"]), ("A {} is red or green. ", ["rose", "leaf"])]
    texts = ["".join(kind.format(draw.choice(words)) for kind, words in draw.choices(kinds, k=12)) for _ in range(150)]
    return [Article(f"{language} {number}", text, "", "") for number, text in enumerate(texts)]


def shrink(patch=setattr):
    """Make the presets small; `patch` is setattr, or that of pytest's monkeypatch."""
    from course_lib.recipes import language

    def small(plan, languages):
        shared = {"d_shared": 2 * SIZES["d_ff"]} if plan.model.n_experts else {}
        model = replace(plan.model, vocab_size=VOCABULARY, **shared, **SIZES)
        train = replace(plan.train, steps=STEPS, warmup_steps=3, lr=2e-2)
        return replace(plan, model=model, train=train, batch=8, languages=languages)

    languages = {"cpu": ("en",), "hour": ("en",), "gpu": ("en", "fr")}
    tiny = {
        recipe: {size: small(plan, languages[size]) for size, plan in sizes.items()}
        for recipe, sizes in language.PRESETS.items()
    }
    patch(language, "PRESETS", tiny)
    save_seldom(SAVE_EVERY, patch)
    patch(language, "PROMPTS", ("The carp", "A rose", "The eel"))  # short enough for the context


def small_text(patch, folder):
    """Let recipes read a few sentences and prepare them in a new cache, for the preset cpu.

    Args:
        patch: pytest's monkeypatch.
        folder: Where the cache is.
    """
    from course_lib.data.corpora import pretraining

    patch.setenv("COURSE_CACHE", str(folder / "cache"))
    patch.setenv("COURSE_PRESET", "cpu")
    patch.setattr(pretraining, "wikipedia_leads", articles)


def save_seldom(every, patch=setattr):
    """Let the recipes save every so many steps: to write a checkpoint takes as long as many steps of a tiny model."""
    from course_lib.recipes import run
    from course_lib.train import RunFolder

    patch(run, "RunFolder", lambda *arguments, **given: RunFolder(*arguments, **given | {"save_every": every}))


def slow_down(seconds):
    """Pause at every step, so that a kill can come in the middle."""
    from course_lib.recipes import language

    prompt = language.next_token_loss

    def tardy(model, windows):
        time.sleep(seconds)
        return prompt(model, windows)

    language.next_token_loss = tardy


def no_network(*arguments):
    """Stands in for whatever would connect."""
    raise OSError("there is no network")


def runs_of_a_stopped_recipe(recipe, step, run, whole, folder):
    """Interrupt a recipe at the third call of one of its functions, go on, and return how many calls it took.

    Args:
        recipe: The module of the recipe.
        step: The name of its function.
        run: What runs it in a folder, as a test's own `run`.
        whole: The values of an uninterrupted run, which are to come out.
        folder: An empty one.
    """
    import pytest

    from course_lib.recipes.run import RecipeError

    calls, original = [], getattr(recipe, step)

    def stopping(*arguments, **settings):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, step, stopping)
        with pytest.raises(KeyboardInterrupt):
            run(folder / "cut")
        with pytest.raises(RecipeError, match=r"a run that has begun; go on with: .* --resume"):
            run(folder / "cut")
        assert run(folder / "cut", resume=True) == whole
    return len(calls)


if __name__ == "__main__":
    for name in filter(None, os.environ.get("BLOCKED", "").split(",")):
        sys.modules[name] = None  # importing it raises ImportError
    socket.socket.connect = no_network
    from course_lib.cli import main
    from course_lib.data.packages import fetching

    if "BLOCKED" in os.environ:
        fetching.download = no_network
    import torch

    torch.set_num_threads(1)
    shrink()
    slow_down(float(os.environ.get("SLOW", 0)))
    main()
