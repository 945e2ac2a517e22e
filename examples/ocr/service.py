"""One HTTP request to one answer, without Ray: what ocr.py serves, and what tests call."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from reader.body import image_bytes
from reader.errors import BadRequest

MAX_BODY = 32 * 1024 * 1024
AT_ONCE = 4  # as max_ongoing_requests in app.yaml

log = logging.getLogger("ray.serve")


class Service:
    """Answers requests with what `read` (bytes -> answer, raises BadRequest) finds, a few at once, off the event loop."""

    def __init__(self, read):
        self._read = read
        self._pool = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="ocr")

    async def answer(self, request):
        """A JSON response to a Starlette request: 200, or 4xx with {error: {code, message, hint}}."""
        try:
            if request.method != "POST":
                raise not_post(request.method)
            data = image_bytes(request.headers.get("content-type"), await whole_body(request))
            return JSONResponse(await asyncio.get_running_loop().run_in_executor(self._pool, self._read, data))
        except BadRequest as error:
            headers = {"allow": "POST"} if error.status == 405 else None
            return JSONResponse(error.body(), status_code=error.status, headers=headers)
        except ClientDisconnect:
            error = BadRequest(400, "truncated-body", "the connection ended before the body did", "send the image again")
            return JSONResponse(error.body(), status_code=error.status)
        except Exception:
            log.exception("reading an image failed")
            error = BadRequest(500, "internal", "the image could not be read", "the replica's log says why")
            return JSONResponse(error.body(), status_code=error.status)


async def whole_body(request):
    """The request's body, refused as soon as it is known to be too long."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > MAX_BODY:
        raise too_long()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise too_long()
    return bytes(body)


def not_post(method):
    return BadRequest(
        405,
        "method-not-allowed",
        f"{method} is not understood here",
        "POST an image: curl --data-binary @page.png -H 'content-type: image/png' URL",
    )


def too_long():
    limit = MAX_BODY // (1024 * 1024)
    return BadRequest(413, "body-too-large", f"the body has more than {limit} MiB", "send the image as PNG or JPEG, or scale it down")
