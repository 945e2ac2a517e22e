"""The OCR example's HTTP side: each request gets its answer, each mistake its status, and nothing is a 500 but our own failure."""

import asyncio
import json
import logging

import ocr_local
import pytest


@pytest.fixture(scope="module", autouse=True)
def paths():
    ocr_local.prepare()


def ask(read=None, method="POST", chunks=(b"image",), headers=None, hang_up=False):
    """Sends one request to a service that reads with `read`; returns (status, headers, JSON body, chunks taken)."""
    from service import Service
    from starlette.requests import Request

    taken = []

    async def receive():
        if len(taken) == len(chunks):
            return {"type": "http.disconnect"}
        taken.append(chunks[len(taken)])
        more = hang_up or len(taken) < len(chunks)
        return {"type": "http.request", "body": taken[-1], "more_body": more}

    given = [(name.encode(), value.encode()) for name, value in (headers or {"content-type": "image/png"}).items()]
    scope = {"type": "http", "method": method, "path": "/ocr", "headers": given, "query_string": b""}
    service = Service(read or (lambda data: {"lines": [data.decode()]}))
    response = asyncio.run(service.answer(Request(scope, receive)))
    return response.status_code, response.headers, json.loads(response.body), len(taken)


def test_answer():
    status, _, body, _ = ask(chunks=(b"in ", b"three ", b"parts"))
    assert (status, body) == (200, {"lines": ["in three parts"]})


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_other_methods(method):
    status, headers, body, _ = ask(method=method)
    assert (status, headers["allow"], body["error"]["code"]) == (405, "POST", "method-not-allowed")
    assert "POST" in body["error"]["hint"]


def test_wrong_type():
    status, _, body, _ = ask(headers={"content-type": "text/plain"})
    assert (status, body["error"]["code"]) == (415, "unsupported-media-type")


def test_too_long_by_its_header():
    """Refused before a byte is taken."""
    status, _, body, taken = ask(headers={"content-type": "image/png", "content-length": str(33 << 20)})
    assert (status, body["error"]["code"], taken) == (413, "body-too-large", 0)


def test_too_long_by_its_content():
    """Refused as soon as the limit is passed, not after the last byte."""
    status, _, body, taken = ask(chunks=(bytes(1 << 20),) * 60)
    assert (status, body["error"]["code"], taken) == (413, "body-too-large", 33)


def test_hung_up():
    status, _, body, _ = ask(chunks=(b"half an", b" image"), hang_up=True)
    assert (status, body["error"]["code"]) == (400, "truncated-body")


def test_bad_image():
    from reader.image import decode

    status, _, body, _ = ask(read=decode)
    assert (status, body["error"]["code"]) == (400, "bad-image")
    assert set(body["error"]) == {"code", "message", "hint"}


def test_our_own_failure(caplog):
    """Logged once with its cause; the client learns nothing of it."""

    def fail(data):
        raise RuntimeError("secret")

    with caplog.at_level(logging.INFO):
        status, _, body, _ = ask(read=fail)
    assert (status, body["error"]["code"]) == (500, "internal")
    assert "secret" not in json.dumps(body)
    assert len(caplog.records) == 1 and caplog.records[0].exc_info
