"""Write environment.yml (conda, mamba, Binder) from pyproject.toml, so that the list of dependencies exists once.

python3 tools/environment.py          writes environment.yml
"""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("book", "vision", "lab")


def environment() -> str:
    """The text of environment.yml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in EXTRAS:
        wanted += [line for line in project["optional-dependencies"][extra] if line not in wanted]
    lines = [
        "# Made by tools/environment.py from pyproject.toml; change that file and run this again.",
        "name: course",
        "channels:",
        "  - conda-forge",
        "dependencies:",
        "  - python=3.12",
        "  - pip",
        "  - pip:",
        "      # CPU builds of torch: Binder's machines have no GPU and little disk.",
        "      - --extra-index-url https://download.pytorch.org/whl/cpu",
        *(f'      - "{line}"' for line in wanted),
        "      - --editable .",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "environment.yml").write_text(environment())
