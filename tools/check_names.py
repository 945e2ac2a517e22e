"""Names in Python that nothing defines, nothing uses, or something hides: what pyflakes finds in every Python file.

Usage: check_names.py [FILE ...], by the tests' Python. A `# noqa: F401 - why` keeps a line."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("bench", "deploy", "examples", "python", "tests", "tools")


def is_python(path):
    if path.suffix:
        return path.suffix == ".py"
    with path.open("rb") as file:
        first = file.readline(80)
    return first.startswith(b"#!") and b"python" in first


def sources():
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file())
    return [str(path) for path in found if is_python(path)]


def main():
    files = sys.argv[1:] or sources()
    assert files, "no file to check"
    return subprocess.run([sys.executable, "-m", "flake8", "--isolated", "--select=F", *files], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
