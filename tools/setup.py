"""Make or refresh `.venv`: what `make` runs first.  Standard library only.

    python3 tools/setup.py EXTRA [EXTRA ...] [--torch cpu]

Installs this checkout with the named extras of pyproject.toml under the pins of requirements.lock. When neither file
has changed since the last run it returns at once. `--torch cpu` first takes torch and torchvision from PyTorch's own
index of CPU builds, which on Linux saves about 3 GB of GPU libraries.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "course-setup.json"
OLDEST = (3, 11)
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Tests use these programs; nothing else does. (Debian's package, the programs of which one is enough)
SYSTEM_PROGRAMS = {
    "bubblewrap": ("bwrap",),
    "chromium": ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"),
}


def stop(sentence: str) -> None:
    """End with one sentence and no traceback."""
    sys.exit(f"setup: {sentence}")


def find_python() -> str:
    """This interpreter if it is new enough, otherwise a newer one on the PATH."""
    if sys.version_info >= OLDEST:
        return sys.executable
    for name in ("python3.13", "python3.12", "python3.11"):
        if found := shutil.which(name):
            return found
    stop("the course needs Python 3.11 or newer; install one, or name it: make PYTHON=/path/to/python3.12 ...")
    raise AssertionError


def venv_python() -> Path:
    """The interpreter inside .venv."""
    return VENV / "bin" / "python"


def has_pip() -> bool:
    """Whether .venv has an interpreter with a working pip."""
    try:
        return subprocess.run([str(venv_python()), "-c", "import pip"], capture_output=True).returncode == 0
    except OSError:
        return False


def make_venv(python: str) -> None:
    """Create .venv; what is left of a broken one goes first."""
    if VENV.exists():
        shutil.rmtree(VENV)
    print(f"setup: making .venv with {python}", flush=True)
    made = subprocess.run([python, "-m", "venv", str(VENV)], capture_output=True, text=True)
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        if "ensurepip" in made.stdout + made.stderr:
            stop("this Python has no venv module; on Debian and Ubuntu: sudo apt-get install -y python3-venv")
        stop(f"could not make .venv: {(made.stderr or made.stdout).strip()}")


def pip_commands(extras: list[str], torch: str | None, interactive: bool) -> list[list[str]]:
    """The pip commands that install the course, in order.

    Args:
        extras: Of pyproject.toml.
        torch: "cpu" for builds without GPU libraries, or None.
        interactive: Whether to draw progress bars.
    """
    pip = [str(venv_python()), "-m", "pip", "install", "--disable-pip-version-check"]
    if not interactive:
        pip += ["--progress-bar", "off"]  # a log keeps one line a package
    pins = ["--constraint", str(ROOT / "requirements.lock")]
    commands = []
    if torch == "cpu":
        # These two alone: PyTorch's index lacks the pinned versions of what they depend on, which the second command
        # takes from the ordinary index.
        commands.append([*pip, "--no-deps", "--index-url", TORCH_CPU_INDEX, *pins, "torch", "torchvision"])
    commands.append([*pip, *pins, "--editable", f"{ROOT}[{','.join(extras)}]"])
    return commands


def known_extras() -> list[str]:
    """The extras of pyproject.toml."""
    import tomllib  # not at the top: a Python that is too old for it still has to say so in a sentence

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    return list(project["optional-dependencies"])


def fingerprint(extras: list[str], torch: str | None) -> dict[str, object]:
    """What the environment depends on: the digest of its two files, the extras, the build of torch."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "requirements.lock"):
        digest.update((ROOT / name).read_bytes())
    return {"files": digest.hexdigest(), "extras": sorted(extras), "torch": torch}


def is_ready(wanted: dict[str, object]) -> bool:
    """Whether an earlier run installed at least this, from the same files."""
    try:
        have = json.loads(STAMP.read_text())
        return (
            have["files"] == wanted["files"]
            and set(wanted["extras"]) <= set(have["extras"])  # type: ignore[call-overload]
            and wanted["torch"] in (None, have["torch"])
            and venv_python().exists()
        )
    except (OSError, ValueError, KeyError):
        return False


def missing_programs() -> list[str]:
    """Debian's names of the programs that the tests use and this machine lacks."""
    return [package for package, programs in SYSTEM_PROGRAMS.items() if not any(map(shutil.which, programs))]


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options of a command line; an extra that pyproject.toml does not have ends in a sentence."""
    extras = known_extras()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extras", nargs="+", metavar="EXTRA", choices=extras, help=f"any of {', '.join(extras)}")
    parser.add_argument("--torch", choices=["cpu"], help="cpu: torch from PyTorch's index of CPU builds")
    return parser.parse_args(arguments)


def main() -> None:
    """Install what the command line asks for, unless it is there."""
    python = find_python()
    if sys.version_info < OLDEST:  # a newer one is here: start again with it
        sys.exit(subprocess.run([python, __file__, *sys.argv[1:]]).returncode)
    options = parse(sys.argv[1:])
    if "test" in options.extras and (missing := missing_programs()):
        print("setup: some tests need system packages; on Debian and Ubuntu:")
        print(f"    sudo apt-get install -y {' '.join(missing)}", flush=True)

    wanted = fingerprint(options.extras, options.torch)
    if is_ready(wanted):
        return
    if not has_pip():
        make_venv(python)
    print(f"setup: installing the course with {', '.join(options.extras)} (the first time takes minutes)", flush=True)
    for command in pip_commands(options.extras, options.torch, sys.stdout.isatty()):
        if subprocess.run(command, cwd=ROOT).returncode:
            stop("pip could not install the course; its last lines above say why. Run the same command to try again.")
    previous = json.loads(STAMP.read_text())["extras"] if STAMP.exists() else []
    wanted["extras"] = sorted({*options.extras, *previous})
    STAMP.write_text(json.dumps(wanted))
    print("setup: ready", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        stop("interrupted; run the same command to go on")
