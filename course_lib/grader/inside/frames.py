"""Messages between grader and worker: a JSON header, then the raw bytes of every array. Nothing is ever unpickled.

On the wire: two little-endian 32-bit lengths, the header, the body. In the header, lists and scalars stand for
themselves; an object has a single key that says what it is: "dict", "complex", "tensor" or "array".
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

LONGEST_HEADER, LONGEST_BODY, LONGEST_SIDE, MOST_DIMENSIONS = 2**21, 2**25, 2**31, 16
_LENGTHS = struct.Struct("<II")
_INTEGERS = ["bool", "uint8", "int8", "int16", "int32", "int64"]
_FLOATS = ["float16", "float32", "float64", "complex64", "complex128"]
_TORCH = [*_INTEGERS, *_FLOATS, "bfloat16"]
_NUMPY = [*_INTEGERS, *_FLOATS, "uint16", "uint32", "uint64"]


class BadFrame(ValueError):
    """The message breaks the rules of this file."""


def pack(message: Any) -> bytes:
    """A message of plain data as bytes; BadFrame when it is too long or not plain."""
    parts: list[bytes] = []
    try:
        header = json.dumps(_encode(message, parts)).encode()
    except (RecursionError, ValueError) as error:
        raise BadFrame(f"the result cannot be sent: {type(error).__name__}") from None
    body = b"".join(parts)
    if len(header) > LONGEST_HEADER or len(body) > LONGEST_BODY:
        raise BadFrame(f"the result is too large: {(len(header) + len(body)) / 2**20:.0f} MB")
    return _LENGTHS.pack(len(header), len(body)) + header + body


def receive(read: Callable[[int], bytes]) -> Any:
    """The next message; `read(n)` returns exactly n bytes or raises. BadFrame for anything against the rules."""
    header_length, body_length = _LENGTHS.unpack(read(_LENGTHS.size))
    if header_length > LONGEST_HEADER or body_length > LONGEST_BODY:
        raise BadFrame("the message is too long")
    header, body = read(header_length), memoryview(read(body_length))
    position = 0

    def take(size: int) -> bytearray:
        nonlocal position
        if position + size > len(body):
            raise BadFrame("an array is longer than the body")
        position += size
        return bytearray(body[position - size : position])  # writable, as torch.frombuffer wants it

    try:
        message = _decode(json.loads(header), take)
    except (ValueError, TypeError, RecursionError, RuntimeError, OverflowError) as error:
        raise BadFrame(f"{type(error).__name__} in a message") from None
    if position != len(body):
        raise BadFrame("the body is longer than its arrays")
    return message


def _encode(value: Any, parts: list[bytes]) -> Any:
    if isinstance(value, torch.Tensor):
        flat = value.detach().contiguous().reshape(-1)
        parts.append(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
        return {"tensor": [str(value.dtype).removeprefix("torch."), list(value.shape)]}
    if isinstance(value, np.ndarray):
        parts.append(np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<")).tobytes())
        return {"array": [value.dtype.name, list(value.shape)]}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, dict):
        return {"dict": [[_encode(key, parts), _encode(item, parts)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_encode(item, parts) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise BadFrame(f"a {type(value).__name__} cannot be sent")


def _decode(node: Any, take: Callable[[int], bytearray]) -> Any:
    if isinstance(node, list):
        return [_decode(item, take) for item in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "dict":
        return {_decode(key, take): _decode(item, take) for key, item in content}
    if kind == "complex":
        return complex(*content)
    if kind not in ("tensor", "array"):
        raise BadFrame(f"unknown kind {kind!r}")
    name, shape = content
    if name not in (_TORCH if kind == "tensor" else _NUMPY):
        raise BadFrame("unknown dtype")
    if len(shape) > MOST_DIMENSIONS or not all(type(n) is int and 0 <= n < LONGEST_SIDE for n in shape):
        raise BadFrame("impossible shape")
    if kind == "array":
        dtype = np.dtype(name)
        return (
            np.frombuffer(take(math.prod(shape) * dtype.itemsize), dtype.newbyteorder("<")).astype(dtype).reshape(shape)
        )
    torch_dtype = getattr(torch, name)
    data = take(math.prod(shape) * torch_dtype.itemsize)
    if not data:
        return torch.empty(shape, dtype=torch_dtype)
    if torch_dtype is torch.bool:  # bytes other than 0 and 1 would be undefined behaviour
        return torch.frombuffer(data, dtype=torch.uint8).ne(0).reshape(shape)
    return torch.frombuffer(data, dtype=torch_dtype).reshape(shape)
