"""Images in 256 colours: a third of the bytes, which matters since a lab's page has many of them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def palette_png(pixels: UInt8[np.ndarray, "height width 4"]) -> bytes:
    """Encode an image as a PNG of its 256 most frequent colours; every other colour becomes the nearest of these.

    Filled areas, lines and the inside of letters keep their exact colour; only the finest steps of soft edges are lost.
    Pillow's own quantiser for images with transparency causes visible banding in colour scales.
    """
    codes = np.ascontiguousarray(pixels).view(np.uint32)[..., 0]
    colours, index, count = np.unique(codes, return_inverse=True, return_counts=True)
    rgba = colours[:, None].view(np.uint8).astype(np.float32)
    kept = np.argsort(-count, kind="stable")[:256]
    # Squared distance to every kept colour, less a part that is the same for all of them.
    distance = (rgba[kept] ** 2).sum(1) - 2 * rgba @ rgba[kept].T
    nearest = distance.argmin(1).astype(np.uint8)
    picture = Image.fromarray(nearest[index].reshape(codes.shape))
    picture.putpalette(rgba[kept].astype(np.uint8).tobytes(), "RGBA")
    out = BytesIO()
    picture.save(out, format="png", optimize=True)
    return out.getvalue()
