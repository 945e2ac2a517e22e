"""What a test deploys in place of examples/ocr's own ocr:app: the same, and on GET its replica tells what it is made of. It is the
replica's own word that counts: another process, of whatever environment, could find other things."""

import importlib
import sys

import ocr
from ray import serve
from starlette.responses import JSONResponse


def what_is_here():
    """The files that this process has mapped and imported, where it looks for more, and how an import of onnxruntime ends."""
    try:
        importlib.import_module("onnxruntime")
        found = "imported"
    except Exception as error:
        found = type(error).__name__
    with open("/proc/self/maps", encoding="utf-8") as maps:
        rows = [line.rstrip("\n").split(None, 5) for line in maps]
    mapped = {row[5] for row in rows if len(row) == 6 and row[5].startswith("/")}
    imported = {path for module in list(sys.modules.values()) if (path := getattr(module, "__file__", None))}
    return {"onnxruntime": found, "mapped": sorted(mapped), "imported": sorted(imported), "path": sys.path, "executable": sys.executable}


@serve.deployment(name="Ocr")
class Witness(ocr.Ocr.func_or_class):
    async def __call__(self, request):
        return JSONResponse(what_is_here()) if request.method == "GET" else await super().__call__(request)


app = Witness.bind()
