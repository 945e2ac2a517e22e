"""What people send the OCR example: images of every kind are read, everything else gets a clear refusal and never a failure."""

import io
import random
import struct
import zlib

import ocr_local
import pytest

LINE = "variety and complexity of real-world imagery."


@pytest.fixture(scope="module")
def line():
    """One line of text as an 8 bit grey Pillow image."""
    from PIL import Image

    pages = ocr_local.prepare()
    with Image.open(pages["imageTextN.png"]) as page:
        return page.convert("L").crop((24, 200, 290, 220))


@pytest.fixture(scope="module")
def read(line):
    from reader.pipeline import Reader

    reader = Reader()
    yield lambda data: [found["text"] for found in reader.read_bytes(data)["lines"]]
    reader.close()


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def with_alpha(line):
    """Black letters on nothing, as they come out of drawing programs."""
    from PIL import Image, ImageOps

    image = Image.new("LA", line.size, 0)
    image.putalpha(ImageOps.invert(line))
    return image


def light_on_nothing(line):
    from PIL import Image, ImageOps

    image = Image.new("RGBA", line.size, (255, 255, 255, 0))
    image.putalpha(ImageOps.invert(line))
    return image


def sixteen_bit(line, channels):
    import cv2
    import numpy as np

    grey = np.asarray(line).astype(np.uint16) * 257
    return cv2.imencode(".png", grey if channels == 1 else cv2.merge([grey] * channels))[1].tobytes()


def exif(orientation):
    from PIL import Image

    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def palette_with_hole(line):
    """A palette image whose lightest colour is transparent."""
    image = line.convert("P")
    return encoded(image, transparency=255)


KINDS = {
    "grey": lambda line: encoded(line),
    "rgb": lambda line: encoded(line.convert("RGB")),
    "palette": lambda line: encoded(line.convert("RGB").quantize(16)),
    "palette, 1 bit": lambda line: encoded(line.resize((798, 60)).convert("RGB").quantize(2), bits=1),
    "palette with transparency": palette_with_hole,
    "1 bit": lambda line: encoded(line.resize((798, 60)).convert("1", dither=0)),
    "grey and alpha": lambda line: encoded(with_alpha(line)),
    "rgba": lambda line: encoded(with_alpha(line).convert("RGBA")),
    "white on transparent": lambda line: encoded(light_on_nothing(line)),
    "16 bit grey": lambda line: sixteen_bit(line, 1),
    "16 bit rgb": lambda line: sixteen_bit(line, 3),
    "16 bit rgba": lambda line: sixteen_bit(line, 4),
    "jpeg grey": lambda line: encoded(line, "JPEG", quality=90),
    "jpeg": lambda line: encoded(line.convert("RGB"), "JPEG", quality=90),
    "jpeg, progressive": lambda line: encoded(line.convert("RGB"), "JPEG", quality=90, progressive=True),
    "jpeg, cmyk": lambda line: encoded(line.convert("CMYK"), "JPEG", quality=90),
    "jpeg turned by EXIF": lambda line: encoded(line.rotate(90, expand=True), "JPEG", quality=90, exif=exif(6)),
    "jpeg on its head by EXIF": lambda line: encoded(line.rotate(180), "JPEG", quality=90, exif=exif(3)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_image_kind(line, read, kind):
    from score import score

    assert score([LINE], read(KINDS[kind](line))) >= 0.95


@pytest.mark.parametrize("orientation, turn", [(3, 180), (6, 90), (8, 270)])
def test_exif(line, read, orientation, turn):
    """A camera's note of how it was held is followed, so that boxes are those of the picture as people see it."""
    import numpy as np
    from reader.image import decode

    image = decode(encoded(line.rotate(turn, expand=True), "JPEG", quality=95, exif=exif(orientation)))
    assert image.shape == (line.height, line.width, 3)
    assert np.abs(image[:, :, 0].astype(int) - np.asarray(line)).mean() < 8


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bare_png(width, height, depth=8, colour=2):
    """A PNG of a few bytes that announces any size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


BAD = {
    "nothing": (b"", 400, "empty-body"),
    "text": (b"hello, world\n" * 10, 400, "bad-image"),
    "zeros": (bytes(4096), 400, "bad-image"),
    "another format": (b"GIF89a" + bytes(100), 400, "bad-image"),
    "signature alone": (b"\x89PNG\r\n\x1a\n", 400, "bad-image"),
    "no width": (bare_png(0, 100), 400, "bad-image"),
    "impossible depth": (bare_png(10, 10, depth=3), 400, "bad-image"),
    "more than any page": (bare_png(8000, 5001), 413, "image-too-large"),
    "bomb": (bare_png(60000, 60000), 413, "image-too-large"),
    "largest bomb": (bare_png(2**31 - 1, 2**31 - 1), 413, "image-too-large"),
    "too long a side": (bare_png(100_000, 4), 413, "image-too-large"),
    "data for fewer rows": (bare_png(4000, 4000), 400, "truncated-image"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_image(read, kind):
    from reader.errors import BadRequest

    data, status, code = BAD[kind]
    with pytest.raises(BadRequest) as caught:
        read(data)
    assert (caught.value.status, caught.value.code) == (status, code)
    error = caught.value.body()["error"]
    assert error["message"] and error["hint"]


@pytest.mark.parametrize("kind", ["grey", "jpeg", "jpeg, progressive", "16 bit grey"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_truncated(line, read, kind, part):
    from reader.errors import BadRequest

    whole = KINDS[kind](line)
    with pytest.raises(BadRequest) as caught:
        read(whole[: int(len(whole) * part)])
    assert caught.value.status == 400


def test_damaged_images_never_fail(line):
    """Whatever bytes change, decoding gives an image or a refusal, nothing else."""
    from reader.errors import BadRequest
    from reader.image import decode

    chance = random.Random(7)
    sources = [kind(line) for kind in KINDS.values()]
    refused = 0
    for _ in range(600):
        data = bytearray(chance.choice(sources))
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            image = decode(bytes(data))
            assert image.ndim == 3 and image.shape[2] == 3
        except BadRequest as error:
            assert error.status in (400, 413)
            refused += 1
    assert refused > 100


def form(*parts, boundary="----b", closed=True):
    body = b"".join(b"--" + boundary.encode() + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
    return body + (b"--" + boundary.encode() + b"--\r\n" if closed else b"")


FIELD = b'Content-Disposition: form-data; name="note"'
FILE = b'Content-Disposition: form-data; name="image"; filename="page.png"\r\nContent-Type: image/png'
PIXELS = b"\x89PNG\r\n\x1a\n\r\n--not-a-boundary\r\n\0"


@pytest.mark.parametrize(
    "content_type, body",
    [
        ("image/png", PIXELS),
        ("IMAGE/JPEG; q=1", PIXELS),
        ("application/octet-stream", PIXELS),
        ("application/x-www-form-urlencoded", PIXELS),
        (None, PIXELS),
        ("multipart/form-data; boundary=----b", form((FILE, PIXELS))),
        ('multipart/form-data; boundary="----b"', form((FIELD, b"hello"), (FILE, PIXELS))),
        ("multipart/form-data; charset=utf-8; boundary=----b", form((FIELD, PIXELS))),
    ],
)
def test_body(line, content_type, body):
    from reader.body import image_bytes

    assert image_bytes(content_type, body) == PIXELS


@pytest.mark.parametrize(
    "content_type, body, status",
    [
        ("text/plain", PIXELS, 415),
        ("application/json", b"{}", 415),
        ("image/webp", PIXELS, 415),
        ("text/html; " + "x" * 5000, PIXELS, 415),
        ("multipart/form-data", form((FILE, PIXELS)), 400),
        ("multipart/form-data; boundary=other", form((FILE, PIXELS)), 400),
        ("multipart/form-data; boundary=----b", form((FILE, PIXELS), closed=False), 400),
        ("multipart/form-data; boundary=----b", b"", 400),
        ("multipart/form-data; boundary=" + "b" * 71, form((FILE, PIXELS), boundary="b" * 71), 400),
    ],
)
def test_bad_body(line, content_type, body, status):
    from reader.body import image_bytes
    from reader.errors import BadRequest

    with pytest.raises(BadRequest) as caught:
        image_bytes(content_type, body)
    assert caught.value.status == status
    assert len(caught.value.message) < 200


def test_pins_agree():
    """The tests run the libraries that the deployed app runs."""
    deployed = set((ocr_local.ROOT / "examples" / "ocr" / "requirements.txt").read_text().split())
    tested = set((ocr_local.ROOT / "tests" / "e2e" / "requirements.txt").read_text().split())
    assert deployed - tested == {"ray[serve]==2.60.0"}
