"""SmolLM2's weights as tensors: right values, once in memory; MiniLM's folder. (The models test what they compute.)"""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open

from course_lib.data.packages import pretrained
from course_lib.data.packages.fetching import fetch


@pytest.fixture(scope="module")
def smollm2():
    """The fields and the tensors, which take seconds and are not to be changed."""
    return pretrained.smollm2_tensors()


def test_fields_and_tensors(smollm2):
    fields, tensors = smollm2
    width, inner, layers = fields["llama.embedding_length"], fields["llama.feed_forward_length"], 30
    assert (width, inner, fields["llama.block_count"]) == (576, 1536, layers)
    assert len(tensors) == 2 + 9 * layers
    assert tensors["token_embd.weight"].shape == (49_152, width)
    assert tensors["blk.7.ffn_up.weight"].shape == (inner, width)
    assert tensors["blk.7.attn_k.weight"].shape == (192, width)
    assert sum(t.numel() for t in tensors.values()) == 134_515_008
    for name, tensor in tensors.items():
        assert tensor.dtype == torch.float32, name
        assert tensor.is_contiguous()
        assert tensor.isfinite().all()


def test_the_caller_may_change_them():
    names = ("output_norm.weight", "blk.0.attn_q.weight", "token_embd.weight")  # stored in 32, 4 and 8 bits
    tensors = pretrained.smollm2_tensors()[1]
    for name in names:
        tensors[name].zero_()
    again = pretrained.smollm2_tensors()[1]
    for name in names:
        assert again[name].any()
    pretrained.smollm2_fields().clear()
    assert pretrained.smollm2_fields()


def test_four_bit_blocks_are_read_as_the_format_says(smollm2):
    """Q4_1: 32 weights in 20 bytes: scale and minimum as float16, then 16 bytes whose low halves come first."""
    _, tensors = smollm2
    stored = next(t for t in pretrained._read()[1] if t.name == "blk.3.ffn_gate.weight")
    blocks = np.asarray(stored.data).reshape(-1, 20)
    scale, minimum = np.ascontiguousarray(blocks[:, :4]).view(np.float16).astype(np.float32).T[:, :, None]
    weights = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1) * scale + minimum
    assert np.array_equal(weights.ravel(), tensors["blk.3.ffn_gate.weight"].numpy().ravel())


def test_minilm_is_a_folder_with_weights():
    """Names and shapes only: the numbers are tested with the model."""
    folder = pretrained.minilm_folder()
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["num_hidden_layers"], config["hidden_size"]) == ("bert", 6, 384)
    with safe_open(folder / "model.safetensors", "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    assert shapes["embeddings.word_embeddings.weight"] == [30_522, 384]
    assert sum(math.prod(shape) for name, shape in shapes.items() if "position_ids" not in name) == 22_713_216
    assert len((folder / "vocab.txt").read_text(encoding="utf-8").splitlines()) == 30_522


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_there_is_no_second_copy():
    """The process grows by the tensors (538 MB), the mapped file (98 MB) and the reader's lists, at its peak too."""
    program = """
import re
from pathlib import Path
from course_lib.data.packages import pretrained
# Of this program alone: what getrusage tells includes the process that started it.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
tensors = pretrained.smollm2_tensors()[1]
print(peak() - before)
"""
    fetch("smollm2-135m-instruct")
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    tensors = 538e6
    assert tensors < int(out) < 2 * tensors  # a second copy would come on top of the file
