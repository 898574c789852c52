"""The set-up: what `make` asks of pip, and that installing the course leaves an existing torch alone."""

import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load(name):
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup = load("setup")


def test_cpu_torch_comes_first_from_pytorchs_own_index():
    first, second = setup.pip_commands(["book"], "cpu", interactive=True)
    index = first.index("--index-url")
    assert first[index + 1] == "https://download.pytorch.org/whl/cpu"
    assert first[-2:] == ["torch", "torchvision"]  # together: torchvision fits one torch only
    assert "--index-url" not in second  # everything else comes from where the user's pip looks
    assert second[-1].endswith("[book]")
    for command in (first, second):
        assert command[command.index("--constraint") + 1].endswith("requirements.lock")


def test_without_the_variable_pip_decides_where_torch_comes_from():
    (only,) = setup.pip_commands(["book", "test"], None, interactive=False)
    assert not [word for word in only if "index" in word or "torch" in word]
    assert only[-1].endswith("[book,test]")


def make(*arguments):
    """What `make` would run, whatever make or variable this test itself was started with."""
    clean = {k: v for k, v in os.environ.items() if k not in ("TORCH", "PYTHON") and not k.startswith("MAKE")}
    command = ["make", "--dry-run", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_passes_its_variables_on():
    assert "tools/setup.py --torch cpu book" in make("book", "TORCH=cpu")
    assert "--torch" not in make("book")
    assert make("test", "PYTHON=python3.12").startswith("python3.12 tools/setup.py")


def test_a_finished_set_up_is_not_done_again_until_its_files_change(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "STAMP", tmp_path / "stamp.json")
    monkeypatch.setattr(setup, "venv_python", lambda: Path(sys.executable))
    book = setup.fingerprint(["book"], None)
    assert not setup.is_ready(book)
    setup.STAMP.write_text(json.dumps(setup.fingerprint(["book", "test"], "cpu")))
    assert setup.is_ready(book)  # a larger environment serves a smaller wish
    assert not setup.is_ready(setup.fingerprint(["lab"], None))
    assert not setup.is_ready({**book, "files": "changed"})
    setup.STAMP.write_text("{half")
    assert not setup.is_ready(book)


def test_missing_system_programs_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert setup.missing_programs() == ["bubblewrap", "chromium"]


def test_no_venv_module_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(setup, "VENV", tmp_path / "venv")
    refusing = tmp_path / "python"
    refusing.write_text("#!/bin/sh\necho 'ensurepip is not available' >&2\nexit 1\n")
    refusing.chmod(0o755)
    with pytest.raises(SystemExit, match="python3-venv"):
        setup.make_venv(str(refusing))
    assert not setup.VENV.exists()


def test_too_old_a_python_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(setup.sys, "version_info", (3, 10))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer"):
        setup.find_python()


def planned_installs(folder, torch_version):
    """What pip would install where it finds `torch_version` first; None where it cannot. Asks no index."""
    metadata = folder / f"torch-{torch_version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {torch_version}\n")
    report = folder / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-build-isolation", "--quiet"]
    # No configuration of this machine's pip: it could offer another torch from a local folder.
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        [*command, "--report", str(report), str(ROOT)],
        env={**quiet, "PYTHONPATH": str(folder), "PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        assert "torch>=2.9" in done.stderr, done.stderr
        return None
    return {item["metadata"]["name"] for item in json.loads(report.read_text())["install"]}


@pytest.mark.parametrize("installed", ["2.9.0", "2.11.0+cu128"])
def test_installing_beside_an_existing_torch_leaves_it_alone(tmp_path, installed):
    assert planned_installs(tmp_path, installed) == {"course_lib"}


def test_a_torch_that_is_too_old_would_be_noticed(tmp_path):
    """The control of the test above: pip does look at the torch that it finds first."""
    assert planned_installs(tmp_path, "2.1.0") is None


def test_environment_yml_is_derived_from_pyproject():
    assert (ROOT / "environment.yml").read_text() == load("environment").environment()


def test_torch_is_a_range_everywhere_and_the_lock_names_no_host():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "+cpu" not in lock
    assert "torch>=" in lock
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "torch>=2.9" in project["dependencies"]
