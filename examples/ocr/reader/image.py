"""From the bytes of a PNG or JPEG of any kind to one form: uint8, height x width x 3, blue-green-red, upright, opaque.

The size is checked on the header, before a pixel is decoded: a few kilobytes can announce gigabytes. One large image is decoded
at a time, so that the memory of a replica is bounded by one of them and not by the number of requests in flight.
"""

import contextlib
import io
import threading

import cv2
import numpy as np
from PIL import Image, ImageOps

from .errors import BadRequest

FORMATS = ("PNG", "JPEG")
MAX_PIXELS = 40_000_000  # a sheet of A4 at 600 dots per inch has 35 million
MAX_SIDE = 32_767  # OpenCV's own limit for the warps that follow
LARGE_PIXELS = 4_000_000
BRIGHT = 200  # mean grey of the visible part above which a transparent image is taken for light text

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limits are off: those above are stricter, and answer with a sentence
_large = threading.Lock()


def decode(data):
    """The image in `data` as a BGR array. Raises BadRequest for whatever is no readable, reasonably sized PNG or JPEG."""
    if not data:
        raise BadRequest(400, "empty-body", "the request has no body", "POST the bytes of a PNG or JPEG image")
    picture = _open(data)
    with _large if picture.width * picture.height > LARGE_PIXELS else contextlib.nullcontext():
        return np.ascontiguousarray(_pixels(picture)[:, :, ::-1])


def _open(data):
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception:  # Pillow raises many kinds for a damaged header
        known = data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))
        raise BadRequest(
            400,
            "bad-image",
            "the image's header is damaged" if known else "the body is neither a PNG nor a JPEG image",
            "send the unchanged bytes of the file, for example: curl --data-binary @page.png -H 'content-type: image/png' URL",
        ) from None
    width, height = picture.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise BadRequest(
            413,
            "image-too-large",
            f"the image is too large: {width} x {height} pixels",
            f"at most {MAX_PIXELS // 1_000_000} million pixels and {MAX_SIDE} on a side are read; "
            "scale it down, 300 dots per inch are enough",
        )
    return picture


def _pixels(picture):
    """RGB pixels of an opened image, its EXIF rotation applied."""
    try:
        picture.load()
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I"):
            return _from_16_bit(picture)
        if picture.has_transparency_data:
            return _flatten(np.asarray(picture.convert("RGBA")))
        return np.asarray(picture.convert("RGB"))
    except Exception as cause:  # zlib, libjpeg and Pillow each have their own
        short = "truncated" in str(cause) or "unexpected end" in str(cause)
        raise BadRequest(
            400,
            "truncated-image" if short else "bad-image",
            f"the image cannot be decoded: {cause}",
            "the file is cut short or damaged: send it again, whole",
        ) from None


def _from_16_bit(picture):
    """Grey of 16 bits keeps its upper 8; Pillow's own conversion would cut all above 255 to white."""
    grey = (np.asarray(picture).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def _flatten(rgba):
    """Lays a transparent image on white, or on black where what is visible is itself nearly white."""
    alpha = rgba[:, :, 3]
    visible = cv2.mean(cv2.cvtColor(rgba, cv2.COLOR_RGBA2GRAY), (alpha > 127).astype(np.uint8))[0]
    paper = 0 if visible > BRIGHT else 255
    out = np.empty(rgba.shape[:2] + (3,), np.uint8)
    opacity = alpha.astype(np.uint16)
    for channel in range(3):
        mixed = rgba[:, :, channel] * opacity + paper * (255 - opacity)
        out[:, :, channel] = (mixed + 127) // 255
    return out
