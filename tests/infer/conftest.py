"""Shapes written in the signatures of these modules are checked whenever a test calls a function of theirs."""

from jaxtyping import install_import_hook

install_import_hook(
    [
        f"course_lib.infer.{name}"
        for name in (
            "regex", "utf8", "automaton", "vocabulary", "constrain", "numerals", "json_values", "json_schema",
            "rounding", "few_bits", "quantize",
        )
    ],
    "beartype.beartype",
)  # fmt: skip
