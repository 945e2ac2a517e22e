"""python -m reader IMAGE...: reads images without a server; prints their lines, or the whole answers with --json."""

import argparse
import json
import sys

from .errors import BadRequest
from .pipeline import Reader


def main():
    parser = argparse.ArgumentParser(prog="python -m reader", description="Print the text of PNG and JPEG images.")
    parser.add_argument("image", nargs="+", help="file to read")
    parser.add_argument("--json", action="store_true", help="print the answer that the server would give")
    parser.add_argument("--threads", type=int, help="cores to use; without it OMP_NUM_THREADS or 1")
    options = parser.parse_args()
    reader = Reader(options.threads)
    status = 0
    for path in options.image:
        try:
            with open(path, "rb") as file:
                result = reader.read_bytes(file.read())
        except (OSError, BadRequest) as error:
            print(f"{path}: {error}", file=sys.stderr)
            status = 1
            continue
        print(json.dumps(result, ensure_ascii=False) if options.json else "\n".join(x["text"] for x in result["lines"]))
    reader.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
