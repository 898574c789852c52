"""Kill `course train` at random moments, go on each time, and compare the end with an undisturbed run, to the bit.

Run: .venv/bin/python tests/kill_and_resume.py gpt --steps 600 --kills 20

The long form of what tests/test_recipes.py and tests/test_recipe_vision_text.py do in seconds.
"""

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path


def digests(out):
    """The digest of each file of weights that a run has left, by its path."""
    files = sorted(out.glob("*/model.safetensors"))
    assert files, f"{out} holds no model"
    return {file.relative_to(out).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def main():
    """Train once undisturbed and once with kills, and compare."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("recipe", choices=["gpt", "moe", "vision-text"])
    options.add_argument("--steps", type=int, default=600)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--longest", type=float, default=12.0, help="seconds to the latest moment of a kill")
    options.add_argument("--seed", type=int, default=0, help="of the moments")
    args = options.parse_args()
    moments = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:

        def start(out, *more):
            command = [sys.executable, "-m", "course_lib", "train", args.recipe, "--steps", str(args.steps)]
            return subprocess.Popen(
                [*command, "--out", str(out), *more], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )

        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        assert start(whole).wait() == 0
        kills = 0
        while kills < args.kills:
            process = start(killed, "--resume")
            try:
                process.wait(moments.uniform(0, args.longest))
                print(f"the run ended after {kills} kills; take more steps for more", flush=True)
                break
            except subprocess.TimeoutExpired:
                process.kill()
            said = process.communicate()[0].strip().splitlines()
            assert process.returncode == -signal.SIGKILL
            kills += 1
            print(f"kill {kills}: {said[-1] if said else 'before it said anything'}", flush=True)
        process = start(killed, "--resume")
        print(process.communicate()[0], flush=True)
        assert process.returncode == 0
        assert digests(killed) == digests(whole), "the weights differ"
        print(f"{args.recipe}: after {kills} kills, the weights of the undisturbed run: {digests(whole)}")


if __name__ == "__main__":
    main()
