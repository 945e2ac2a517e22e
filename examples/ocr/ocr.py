"""The Serve application: POST an image, get the lines of text in it as JSON. reader/ does the reading, TFCC runs the models."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from ray import serve
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from reader.body import image_bytes
from reader.errors import BadRequest
from reader.pipeline import Reader

MAX_BODY = 32 * 1024 * 1024
AT_ONCE = 4  # as max_ongoing_requests in app.yaml

log = logging.getLogger("ray.serve")


@serve.deployment
class Ocr:
    def __init__(self):
        self._reader = Reader()
        self._pool = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="ocr")

    async def __call__(self, request: Request) -> JSONResponse:
        try:
            if request.method != "POST":
                raise BadRequest(
                    405,
                    "method-not-allowed",
                    f"{request.method} is not understood here",
                    "POST an image: curl --data-binary @page.png -H 'content-type: image/png' URL",
                )
            data = image_bytes(request.headers.get("content-type"), await whole_body(request))
            loop = asyncio.get_running_loop()
            return JSONResponse(await loop.run_in_executor(self._pool, self._reader.read_bytes, data))
        except BadRequest as error:
            headers = {"allow": "POST"} if error.status == 405 else None
            return JSONResponse(error.body(), status_code=error.status, headers=headers)
        except ClientDisconnect:
            return JSONResponse(cut_short().body(), status_code=400)
        except Exception:
            log.exception("reading an image failed")
            error = BadRequest(500, "internal", "the image could not be read", "the replica's log says why")
            return JSONResponse(error.body(), status_code=500)


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


def too_long():
    limit = MAX_BODY // (1024 * 1024)
    return BadRequest(413, "body-too-large", f"the body has more than {limit} MiB", "send the image as PNG or JPEG, or scale it down")


def cut_short():
    return BadRequest(400, "truncated-body", "the connection ended before the body did", "send the image again")


app = Ocr.bind()
