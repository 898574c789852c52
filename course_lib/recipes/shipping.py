"""What comes with the course of a run: its model in half precision, small enough to be committed, and a model card."""

from __future__ import annotations

import shutil
from pathlib import Path

import jinja2
import torch

from course_lib.data.corpora.emoji_split import MORE_VENDORS, TEST_VENDOR, VENDORS
from course_lib.data.packages.registry import entry
from course_lib.files import write_text
from course_lib.interop import from_pretrained, save_pretrained
from course_lib.recipes.report import curve_table, loss_curves, number_tables, sample_tables
from course_lib.recipes.results import Results
from course_lib.recipes.run import RecipeError, Run
from course_lib.tables import Table

LARGEST = 8_000_000  # bytes of a shipped folder, so that a clone stays small
# The packages that each model learned from, whose makers are credited in its card.
SOURCES = {
    "moe": ("wikipedia-leads",),
    "vision-text": (
        "emoji-words",
        *(f"emoji-{vendor}" for vendor in (*VENDORS, *MORE_VENDORS) if vendor != TEST_VENDOR),
    ),
}


def ship(out: Path, results: Results, root: Path) -> Path:
    """Write the model of a run into `shipped/` of a checkout: weights in float16, tokenizer and card.

    Args:
        out: The folder of the finished run.
        results: Its results.
        root: The root of the checkout.

    Returns:
        The folder of the model.

    Raises:
        RecipeError: If the folder would be larger than LARGEST; nothing is then left there.
        ModelError: If the model cannot be read or written.
    """
    recipe = results.provenance.recipe
    folder, new = root / "shipped" / recipe, root / "shipped" / f"{recipe}.new"
    shutil.rmtree(new, ignore_errors=True)
    save_pretrained(from_pretrained(out / "model").to(torch.float16), new)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if (out / "model" / name).is_file():
            shutil.copyfile(out / "model" / name, new / name)
    curves = loss_curves(Run(recipe, out))
    write_text(new / "README.md", _card(results, [curve_table(title, series) for title, series in curves.items()]))
    if (size := sum(file.stat().st_size for file in new.iterdir())) > LARGEST:
        shutil.rmtree(new)
        raise RecipeError(f"the model of {out} takes {size / 1e6:.1f} MB; at most {LARGEST / 1e6:g} MB are shipped")
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    return folder


def _card(results: Results, curves: list[Table]) -> str:
    """Fill in the model card of a recipe."""
    made = results.provenance
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True).from_string(
        Path(__file__).with_name("card.md.template").read_text(encoding="utf8")
    )
    return template.render(
        made=made,
        sources=[entry(name) for name in SOURCES[made.recipe]],
        numbers="\n\n".join(table.to_text() for table in [*number_tables(results), *curves]),
        samples="\n\n".join(table.to_text() for table in sample_tables(results)),
    )
