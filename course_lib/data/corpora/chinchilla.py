"""The runs that the Chinchilla law was fitted to, as Besiroglu et al. (2024) read them off the published figure."""

from __future__ import annotations

import csv
import hashlib
import http.client
import io
import urllib.request

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.data.packages.array_cache import Arrays, cached_arrays
from course_lib.errors import DataError

# Their repository names no licence, so the course holds no copy: whoever wants the points gets them from there.
_ADDRESS = (
    "https://raw.githubusercontent.com/epoch-research/analyzing-chinchilla/"
    "92258837425e1b5f2851d624287f0120583a3d0e/data/svg_extracted_data.csv"
)
_SHA256 = "193478df4e90f040016431996c45682659306840ecdadf83cfb9cd5ca0aa1b30"
_PATIENCE = 5  # seconds


def chinchilla_runs() -> tuple[Float[Tensor, " runs"], Float[Tensor, " runs"], Float[Tensor, " runs"]]:
    """Return parameters, tokens and loss in nats per token of the 245 runs, downloaded at the first call.

    The tokens are computed from the operations, C / (6 N), as by Besiroglu et al.

    Raises:
        DataError: If they are not in the cache, and cannot be downloaded.
    """
    arrays = cached_arrays("chinchilla-runs", [_SHA256], lambda: _parse(_download()))
    n, operations, loss = (torch.from_numpy(arrays[name]) for name in ("parameters", "operations", "loss"))
    return n, operations / (6 * n), loss


def _download() -> bytes:
    try:
        with urllib.request.urlopen(_ADDRESS, timeout=_PATIENCE) as answer:
            content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"the runs of the Chinchilla figure cannot be downloaded from GitHub ({error})") from None
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise DataError("the runs of the Chinchilla figure on GitHub are no longer those that the course was made with")
    return content


def _parse(content: bytes) -> Arrays:
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    columns = {"parameters": "Model Size", "operations": "Training FLOP", "loss": "loss"}
    return {name: np.array([float(row[column]) for row in rows]) for name, column in columns.items()}
