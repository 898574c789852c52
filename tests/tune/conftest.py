"""Shapes written in the signatures of this room are checked, too, whenever a test calls a function of it."""

from pathlib import Path

from jaxtyping import install_import_hook

import course_lib

# Not those of lora, which a test compiles: a function that checks would break the graph.
ROOM = Path(course_lib.__file__).parent / "tune"
CHECKED = [f"course_lib.tune.{path.stem}" for path in ROOM.glob("[a-z]*.py") if path.stem != "lora"]
install_import_hook(CHECKED, "beartype.beartype")
