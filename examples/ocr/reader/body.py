"""From an HTTP request's content type and body to the bytes of the image in it."""

from .errors import BadRequest

RAW = ("image/png", "image/jpeg", "image/jpg", "application/octet-stream")
# What curl --data-binary sends when told nothing: no statement about the content, which is looked at anyway.
UNSTATED = ("", "application/x-www-form-urlencoded")
MULTIPART = "multipart/form-data"


def image_bytes(content_type, body):
    """The image's bytes. `content_type` is the header's value or None. Raises BadRequest (415, 400)."""
    kind, _, parameters = (content_type or "").partition(";")
    kind = kind.strip().lower()
    if kind == MULTIPART:
        return _first_file(parameters, body)
    if kind in RAW or kind in UNSTATED:
        return body
    raise BadRequest(
        415,
        "unsupported-media-type",
        f"content type {kind[:80]!r} is not an image that is read here",
        "send content-type: image/png or image/jpeg (or multipart/form-data with one file)",
    )


def _first_file(parameters, body):
    """The first part of a form that has a file name, or else the first part (RFC 7578, RFC 2046 section 5.1)."""
    boundary = ""
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "boundary":
            boundary = value.strip('"')
    parts = []
    if 0 < len(boundary) <= 70:
        pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
        closed = len(pieces) > 2 and pieces[-1].startswith(b"--")
        parts = [piece.partition(b"\r\n\r\n") for piece in pieces[1:-1]] if closed else []
    named = [content for head, gap, content in parts if gap and b"filename" in head.lower()]
    content = (named or [content for _, gap, content in parts if gap] or [None])[0]
    if content is None:
        raise BadRequest(
            400, "bad-form", "the form is cut short or has no part", "send one file: curl -F image=@page.png URL"
        )
    return content
