"""The command line: `astra env pack` and `astra env resolve`.

Progress goes to stderr; the result is the last line on stdout. Exit status 0 ok, 1 failed, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType

from . import PACKER_VERSION, archive, cache, pack
from .errors import PackError, from_os_error
from .progress import Progress

END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    words = _parser().parse_args(arguments)
    for number in END_SIGNALS:
        signal.signal(number, _interrupt)
    progress = Progress(quiet=words.quiet)
    try:
        if words.command == "resolve":
            _resolve(words, progress)
        else:
            _pack(words, progress)
        return 0
    except PackError as error:
        failure: object = error
    except OSError as error:
        failure = from_os_error(error)
    except KeyboardInterrupt:
        progress.close()
        print("astra env: interrupted; nothing is left behind", file=sys.stderr)
        return 1
    progress.close()
    print(f"astra env {words.command}: {failure}", file=sys.stderr)
    return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Ends the work; the signals that follow are ignored, so that an impatient person does not stop the cleaning up."""
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="astra env", description="Packs Python environments for Astra's nodes.")
    parser.add_argument("--version", action="version", version=f"astra env packer {PACKER_VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="pack|resolve")
    packer = commands.add_parser("pack", help="pack requirements and a Python into one relocatable archive")
    _add_common(packer)
    packer.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the archive, env.tar.zst")
    packer.add_argument("--cache", type=Path, metavar="DIR", help="keep ready archives here and use them again")
    packer.add_argument("--lock", type=Path, metavar="FILE", help="write the pinned list of packages to FILE")
    packer.add_argument("--full", action="store_true", help="keep the standard library's tests, tkinter and ensurepip")
    packer.add_argument("--no-bytecode", action="store_true", help="do not compile modules: smaller, slower to start")
    packer.add_argument("--level", type=int, choices=range(1, 20), default=archive.LEVEL, metavar="1-19")
    packer.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    resolver = commands.add_parser("resolve", help="print what would be packed, pinned with hashes")
    _add_common(resolver)
    resolver.add_argument("--lock", type=Path, metavar="FILE", help="write the list to FILE instead of stdout")
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("requirements", type=Path, help="requirements in pip's format")
    parser.add_argument("--python", metavar="PATH|VERSION", help="source interpreter (default /usr/bin/python3)")
    parser.add_argument("--index", metavar="URL", help="package index to use instead of the default one")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but the result and errors")


def _resolve(words: argparse.Namespace, progress: Progress) -> None:
    options = pack.Options(words.requirements, Path(), words.python, words.index)
    pinned = pack.resolve(options, progress)
    if words.lock is not None:
        cache.write_atomically(words.lock, pinned)
    else:
        print(pinned, end="")


def _pack(words: argparse.Namespace, progress: Progress) -> None:
    options = pack.Options(
        requirements=words.requirements,
        output=words.output,
        python=words.python,
        index=words.index,
        cache=words.cache,
        full=words.full,
        bytecode=not words.no_bytecode,
        level=words.level,
    )
    result = pack.pack(options, progress)
    if words.lock is not None:
        cache.write_atomically(words.lock, result.pinned)
    progress.step("done")
    if words.json:
        facts = {"path": str(result.path), "cached": result.cached, **result.sidecar()}
        print(json.dumps(facts), flush=True)
    else:
        facts = result.manifest
        print(
            f"{result.path}  {result.digest}  {result.size / 1e6:.0f} MB  Python {facts['python']}, "
            f"{len(facts['packages'])} packages, glibc {facts['glibc']} or newer"
        )


if __name__ == "__main__":
    sys.exit(main())
