"""Answers that an app makes itself."""

import json


class Response:
    media_type = None

    def __init__(self, content=b"", status_code=200, headers=None, media_type=None):
        self.body = self.render(content)
        self.status_code = status_code
        self.headers = {name.lower(): value for name, value in (headers or {}).items()}
        kind = media_type or self.media_type
        if kind:
            self.headers.setdefault("content-type", kind)

    def render(self, content):
        return content if isinstance(content, bytes) else str(content).encode()


class PlainTextResponse(Response):
    media_type = "text/plain; charset=utf-8"


class JSONResponse(Response):
    media_type = "application/json"

    def render(self, content):
        return json.dumps(content).encode()


class StreamingResponse:
    def __init__(self, content, status_code=200, headers=None, media_type=None):
        self.pieces, self.status_code = content, status_code
        self.headers = {**(headers or {}), **({"content-type": media_type} if media_type else {})}
