"""The Serve application: POST an image, get the lines of text in it as JSON. reader/ does the reading, TFCC runs the models."""

from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

from reader.pipeline import Reader
from service import Service


@serve.deployment
class Ocr:
    def __init__(self):
        self._service = Service(Reader().read_bytes)

    async def __call__(self, request: Request) -> JSONResponse:
        return await self._service.answer(request)


app = Ocr.bind()
