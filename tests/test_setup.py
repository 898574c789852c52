"""The set-up: what `make` asks of pip, and that installing the course leaves an existing torch alone."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
import threading
import tomllib
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import browsers
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


def make_wheel(folder, name, version, *needs):
    """An empty package that asks for others; the file."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {n}" for n in needs)]
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def cpu_index(tmp_path, monkeypatch):
    """A server of what PyTorch's index of CPU builds has: torch and torchvision, and nothing that they depend on."""
    root = tmp_path / "index"
    for name, version, needs in (
        ("torch", "2.9.1+cpu", ["sympy>=1.13.3"]),
        ("torch", "2.99.0+cpu", []),  # newer than the pins allow
        ("torchvision", "0.24.1+cpu", ["torch==2.9.1", "numpy"]),
    ):
        (root / name).mkdir(parents=True, exist_ok=True)
        make_wheel(root / name, name, version, *needs)
    handler = functools.partial(QuietHandler, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(setup, "TORCH_CPU_INDEX", f"http://127.0.0.1:{server.server_address[1]}")
        yield root
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Say nothing about each request."""


def run_pip(command):
    """A pip call of the set-up, in this environment; no configuration of this machine's pip has a say."""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return subprocess.run(command, env={**quiet, "PIP_CONFIG_FILE": os.devnull}, capture_output=True, text=True)


def test_an_index_that_holds_torch_and_torchvision_alone_is_enough_for_the_first_command(
    cpu_index, tmp_path, monkeypatch
):
    monkeypatch.setattr(setup, "venv_python", lambda: Path(sys.executable))
    first, _ = setup.pip_commands(["book"], "cpu", interactive=False)
    target = ["--ignore-installed", "--target", str(tmp_path / "installed")]
    done = run_pip([*first, *target])
    assert done.returncode == 0, done.stderr
    found = {path.name for path in (tmp_path / "installed").glob("*.dist-info")}
    assert found == {"torch-2.9.1+cpu.dist-info", "torchvision-0.24.1+cpu.dist-info"}
    # The control: asked for all that they depend on, this index does not do.
    refused = run_pip([word for word in first if word != "--no-deps"] + target)
    assert refused.returncode != 0
    assert "torch==2.9.1+cpu" in refused.stderr


def test_the_second_command_keeps_the_cpu_torch_and_takes_what_it_depends_on_from_the_ordinary_index(tmp_path):
    make_wheel(tmp_path, "needed_by_torch", "1.0")
    options = ["--no-index", "--find-links", str(tmp_path)]
    assert planned_installs(tmp_path, "2.9.1+cpu", ["needed-by-torch"], options) == {"course_lib", "needed_by_torch"}


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


def test_the_extras_are_those_of_pyproject_and_another_one_is_named(capsys):
    assert setup.parse(["book", "vision", "--torch", "cpu"]).extras == ["book", "vision"]
    with pytest.raises(SystemExit):
        setup.parse(["--help"])
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert f"any of {', '.join(extras)}" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        setup.parse(["bok"])
    assert "invalid choice: 'bok'" in capsys.readouterr().err


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
    assert setup.SYSTEM_PROGRAMS["chromium"] == browsers.NAMES  # what set-up takes for a browser, tests use


def test_a_venv_whose_interpreter_or_pip_is_gone_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(setup, "VENV", tmp_path)
    assert not setup.has_pip()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "python").chmod(0o755)
    assert not setup.has_pip()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\nexit 0\n")
    assert setup.has_pip()


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


def test_an_older_python_hands_over_to_the_newer_one_that_it_finds(monkeypatch):
    called = []
    monkeypatch.setattr(setup.sys, "version_info", (3, 8))
    monkeypatch.setattr(setup.sys, "argv", ["tools/setup.py", "book"])
    monkeypatch.setattr(setup.shutil, "which", lambda name: "/newer/python" if name == "python3.12" else None)
    done = subprocess.CompletedProcess([], 3)
    monkeypatch.setattr(setup.subprocess, "run", lambda command: called.append(command) or done)
    with pytest.raises(SystemExit) as ended:
        setup.main()
    assert (called, ended.value.code) == ([["/newer/python", setup.__file__, "book"]], 3)


def planned_installs(folder, torch_version, torch_needs=(), index=("--no-index",)):
    """What pip would install where it finds `torch_version` first; None where it cannot."""
    metadata = folder / f"torch-{torch_version}.dist-info"
    metadata.mkdir()
    needs = "".join(f"Requires-Dist: {name}\n" for name in torch_needs)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {torch_version}\n{needs}")
    report = folder / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", *index, "--no-build-isolation", "--quiet"]
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
