"""Published weights: SmolLM2 as plain tensors, read from a GGUF file, and MiniLM as a Hugging Face folder."""

from __future__ import annotations

import functools
import json
import math
import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib.data.packages.array_cache import cached_arrays
from course_lib.data.packages.fetching import fetch
from course_lib.data.packages.registry import entry


def smollm2_tensors() -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Load SmolLM2-135M-Instruct as (metadata fields, float32 tensors), by their GGUF names.

    It has 134.5 million numbers, 538 MB. A linear layer's weight has the shape (out, in), as in torch. The embedding
    `token_embd.weight` is also the output layer. The rows of `attn_q` and `attn_k` are ordered for RoPE over
    neighbouring pairs (2i, 2i + 1) of each head: this is GGUF's order, not that of the published weights, which pair i
    with i + head_dim / 2.

    The weights were rounded to 4 bits (Q4_1, the embedding to 8), so they are close to the published ones, not equal.

    Raises:
        DataError: If the weights cannot be fetched.

    Source: Allal et al. 2025, "SmolLM2".
    """
    fields, tensors, mapped = _read()
    dequantized = {tensor.name: _dequantize(tensor) for tensor in tensors}
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)  # 97 MB of the file would stay in memory; asked again, they are read again
    return dict(fields), dequantized


def smollm2_fields() -> dict[str, Any]:
    """Load only the metadata of SmolLM2: sizes (`llama.block_count`), tokens, merges, chat template."""
    return dict(_read()[0])


def minilm_folder() -> Path:
    """Return the Hugging Face folder of all-MiniLM-L6-v2: BERT of 6 layers, width 384, 22.7 million numbers in float32.

    A sentence's vector is the mean of the last hidden states over its tokens, scaled to length 1. The folder holds
    `config.json`, `model.safetensors`, `tokenizer.json` and `vocab.txt`, for `from_pretrained`.

    Raises:
        DataError: If the model cannot be fetched.

    Source: Wang et al. 2020, "MiniLM"; Reimers and Gurevych 2019, "Sentence-BERT", section 3.
    """
    return fetch("minilm-l6-v2")


class _StoredTensor(NamedTuple):
    """A tensor as the file stores it; the fields are those of gguf's ReaderTensor."""

    name: str
    tensor_type: int
    data: np.ndarray


@functools.cache
def _read() -> tuple[dict[str, Any], list[_StoredTensor], Any]:
    """Return the fields, the tensors in the mapped file, and the map."""
    path = fetch("smollm2-135m-instruct") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    made_from = [entry("smollm2-135m-instruct").sha256]
    table = json.loads(cached_arrays("smollm2-contents", made_from, lambda: _table_of_contents(path))["json"].tobytes())
    mapped = np.memmap(path, mode="r")
    tensors = []
    for name, kind, dtype, shape, offset in table["tensors"]:
        end = offset + math.prod(shape) * np.dtype(dtype).itemsize
        tensors.append(_StoredTensor(name, kind, mapped[offset:end].view(dtype).reshape(shape)))
    return table["fields"], tensors, mapped.base


def _table_of_contents(path: Path) -> dict[str, np.ndarray]:
    """Return the fields and the places of the tensors as JSON; gguf takes 3 seconds to read 98,000 strings."""
    import gguf  # a machine that trains from copied files may lack it

    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    tensors = [
        (t.name, int(t.tensor_type), t.data.dtype.name, t.data.shape, int(t.data_offset)) for t in reader.tensors
    ]
    text = json.dumps({"fields": fields, "tensors": tensors})
    return {"json": np.frombuffer(text.encode(), np.uint8)}


def _dequantize(tensor: _StoredTensor) -> Tensor:
    import gguf

    values = gguf.dequantize(tensor.data, gguf.GGMLQuantizationType(tensor.tensor_type))
    # Tensors stored as float32 come back as read-only views of the file: only those (0.1 MB) are copied.
    return torch.from_numpy(np.require(values, np.float32, ["C", "W", "O"]))
