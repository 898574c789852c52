"""Messages between grader and worker: a JSON header, then the raw bytes of every array. Nothing is ever unpickled.

Format: two little-endian 32-bit lengths, the header, the body. In the header, lists and scalars are written as they
are; an object has a single key that says what it is: "dict", "complex", "tensor" or "array".

It is not safetensors, which has no complex128 and would accept booleans that are neither 0 nor 1.
"""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

LONGEST_HEADER, LONGEST_BODY, LONGEST_SIDE, MOST_DIMENSIONS = 2**21, 2**25, 2**31, 16
_LENGTHS = struct.Struct("<II")
_INTEGERS = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")
_FLOATS = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
DTYPES = {name: getattr(torch, name) for name in (*_INTEGERS, *_FLOATS)}


class BadFrame(ValueError):
    """Raised when a message violates the format of this file."""


def pack(message: Any) -> bytes:
    """Encode a message of plain data as bytes.

    Raises:
        BadFrame: If the message is too long or not plain data.
    """
    parts: list[bytes] = []
    try:
        header = json.dumps(_encode(message, parts)).encode()
    except (RecursionError, TypeError, ValueError) as error:
        raise BadFrame(f"the result cannot be sent: {type(error).__name__}") from None
    body = b"".join(parts)
    if len(header) > LONGEST_HEADER or len(body) > LONGEST_BODY:
        raise BadFrame(f"the result is too large: {(len(header) + len(body)) / 2**20:.0f} MB")
    return _LENGTHS.pack(len(header), len(body)) + header + body


def receive(read: Callable[[int], bytes]) -> Any:
    """Receive the next message.

    Args:
        read: `read(n)` returns exactly n bytes or raises.

    Raises:
        BadFrame: If the message violates the format.
    """
    header_length, body_length = _LENGTHS.unpack(read(_LENGTHS.size))
    if header_length > LONGEST_HEADER or body_length > LONGEST_BODY:
        raise BadFrame("the message is too long")
    header, body = read(header_length), io.BytesIO(read(body_length))
    try:
        message = _decode(json.loads(header), body)
    except (ValueError, TypeError, RecursionError, RuntimeError, OverflowError) as error:
        raise BadFrame(f"{type(error).__name__} in a message") from None
    if body.read(1):
        raise BadFrame("the body is longer than its arrays")
    return message


def _encode(value: Any, parts: list[bytes]) -> Any:
    """Return a value as it is written in the header; the bytes of arrays are appended to `parts`, in order."""
    if isinstance(value, np.ndarray):
        tensor = torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C"))
        return {"array": _encode(tensor, parts)["tensor"]}
    if isinstance(value, torch.Tensor):
        # A copy, since a single number of a larger tensor keeps its stride, and `conj()` is a mark until it is copied.
        flat = value.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
        parts.append(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
        return {"tensor": [str(value.dtype).removeprefix("torch."), list(value.shape)]}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, dict):
        return {"dict": [[_encode(key, parts), _encode(item, parts)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_encode(item, parts) for item in value]
    return value  # anything else that is not plain data is refused by json


def _decode(node: Any, body: io.BytesIO) -> Any:
    """Decode a part of the header; arrays take their bytes from the body, in order."""
    if isinstance(node, list):
        return [_decode(item, body) for item in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "dict":
        return {_decode(key, body): _decode(item, body) for key, item in content}
    if kind == "complex":
        return complex(*content)
    name, shape = content
    if kind not in ("tensor", "array") or name not in DTYPES:
        raise BadFrame("unknown kind or dtype")
    if len(shape) > MOST_DIMENSIONS or not all(type(n) is int and 0 <= n < LONGEST_SIDE for n in shape):
        raise BadFrame("impossible shape")
    dtype = DTYPES[name]
    size = math.prod(shape) * dtype.itemsize
    data = bytearray(body.read(size))  # writable, as torch.frombuffer requires
    if len(data) != size:
        raise BadFrame("an array is longer than the body")
    if not data:
        tensor = torch.empty(shape, dtype=dtype)
    elif dtype is torch.bool:  # bytes other than 0 and 1 would be undefined behaviour
        tensor = torch.frombuffer(data, dtype=torch.uint8).ne(0).reshape(shape)
    else:
        tensor = torch.frombuffer(data, dtype=dtype).reshape(shape)
    return tensor if kind == "tensor" else tensor.numpy()
