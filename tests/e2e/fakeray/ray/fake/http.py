"""HTTP/1.1 as the stand-in's servers speak it: one handler per server, keep-alive, bodies by length or in chunks."""

import asyncio
from urllib.parse import parse_qsl, urlsplit

from starlette.responses import PlainTextResponse, StreamingResponse

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
           500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable"}  # fmt: skip


class Url:
    def __init__(self, path):
        self.path = path


class Request:
    """What an app gets, as Starlette shows it."""

    def __init__(self, method, target, headers, body):
        split = urlsplit(target)
        self.method, self.target, self.headers, self._body = method, target, headers, body
        self.abandoned = False  # its client has gone
        self.url, self.path, self.query_params = Url(split.path), split.path, dict(parse_qsl(split.query))

    async def body(self):
        return self._body


async def read_body(reader, headers):
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def read_request(reader):
    """The next request; None at the connection's end."""
    line = await reader.readline()
    if not line.endswith(b"\r\n"):
        return None
    method, target, _ = line.decode().split(" ")
    headers = {}
    while (line := await reader.readline()) != b"\r\n":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, target, headers, await read_body(reader, headers))


async def write_answer(writer, answer):
    streams = isinstance(answer, StreamingResponse)
    headers = {**answer.headers, **({"transfer-encoding": "chunked"} if streams else {"content-length": str(len(answer.body))})}
    head = f"HTTP/1.1 {answer.status_code} {REASONS.get(answer.status_code, 'Other')}\r\n"
    writer.write((head + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode())
    if not streams:
        writer.write(answer.body)
        await writer.drain()
        return
    async for piece in answer.pieces:
        data = piece if isinstance(piece, bytes) else piece.encode()
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def attended(call, request, reader):
    """The call's answer; it is given up, as Serve does, when the client has gone."""
    task = asyncio.ensure_future(call)
    while not (await asyncio.wait({task}, timeout=0.05))[0]:
        if reader.at_eof():
            request.abandoned = True
            task.cancel()
            raise asyncio.IncompleteReadError(b"", None)
    return task.result()


async def serve(handler, host, port, on_connection=None):
    """Listens; `await handler(request)` answers each request, one after the other on a connection."""

    async def connection(reader, writer):
        try:
            if on_connection:
                on_connection(writer)
            while request := await read_request(reader):
                answer = await attended(handler(request), request, reader)
                request.abandoned = request.abandoned or reader.at_eof()
                await write_answer(writer, answer)
        except (OSError, ValueError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(connection, host, port, backlog=2048)


def text(status, words):
    return PlainTextResponse(words, status)
