"""Each check of tools/ must find a violation that is planted for it, and leave the clean twin alone."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import check_forbidden  # noqa: E402
import check_layers  # noqa: E402
import check_purity  # noqa: E402
import check_sizes  # noqa: E402


@pytest.fixture
def tree(tmp_path):
    """A small tree with the real tables; write(name, text) adds a file."""
    (tmp_path / "tools").mkdir()
    for table in ("layers.txt", "purity.txt"):
        shutil.copy(ROOT / "tools" / table, tmp_path / "tools")

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    tmp_path.joinpath("src").mkdir()
    return tmp_path, write


@pytest.mark.parametrize(
    "name, line",
    [
        ("src/base/a.c", '#include "types/id.h"'),
        ("src/base/a.c", "#include <unistd.h>"),
        ("src/base/a.c", "#include <time.h>"),
        ("src/wire/a.c", "  #  include <sys/socket.h>"),
        ("src/gateway/policy/a.c", '#include "starlink/node/node.h"'),
        ("src/unit/a.h", '#include "sys/loop.h"'),
        ("src/net/a.c", "#include <sqlite3.h>"),
        ("src/daemon/a.c", '#include "cli/cli.h"'),
        ("src/daemon/shim/a.c", '#include "daemon/agent/agent.h"'),
        ("src/daemon/agent/a.c", "#include <sys/mount.h>"),
        ("src/cli/a.c", '#include "daemon/up/up.h"'),
        ("src/base/a.c", '#include "error.h"'),
        ("src/strange/a.c", "#include <stdio.h>"),
        ("src/daemon/a.c", "#include <jansson.h>"),
        ("include/astra/a.h", '#include "base/error.h"'),
    ],
)
def test_layers_finds(tree, name, line):
    root, write = tree
    write(name, f"/* x */\n{line}\n")
    assert len(check_layers.check(root)) == 1


def test_layers_accepts_what_points_down(tree):
    root, write = tree
    write("src/gateway/policy/a.c", '#include "gateway/gateway.h"\n#include "wire/http.h"\n#include <string.h>\n')
    write("src/main.c", '#include "cli/cli.h"\n#include "daemon/daemon.h"\n')
    write("src/sys/a.c", "#include <uv.h>\n#include <sys/socket.h>\n")
    assert check_layers.check(root) == []


def c_function(name, lines):
    return f"static int {name}(int a,\n    int b)\n{{\n" + "    a += b;\n" * (lines - 2) + "}\n\n"


def test_sizes_finds_a_long_function(tree):
    root, write = tree
    write("src/base/a.c", c_function("short_one", 10) + c_function("long_one", 121) + c_function("small", 3))
    found, _ = check_sizes.check(root)
    assert found == ["src/base/a.c:16: long_one has 121 lines, at most 120"]


def test_sizes_waiver_holds_up_to_its_figure(tree):
    root, write = tree
    write("src/base/a.c", c_function("parser", 150) + c_function("x", 3) + c_function("y", 3))
    write("tools/size-waivers.txt", "src/base/a.c:parser 150 a table of states\n")
    assert check_sizes.check(root)[0] == []
    write("tools/size-waivers.txt", "src/base/a.c:parser 149 a table of states\n")
    assert "parser has 150 lines" in check_sizes.check(root)[0][0]
    write("tools/size-waivers.txt", "src/base/a.c:parser 201 too much\n")
    assert any("size-waivers.txt:1" in line for line in check_sizes.check(root)[0])


def test_sizes_finds_a_waiver_without_need(tree):
    root, write = tree
    write("src/base/a.c", c_function("parser", 20))
    write("tools/size-waivers.txt", "src/base/a.c:parser 150 once long\n")
    assert check_sizes.check(root)[0] == ["tools/size-waivers.txt: src/base/a.c:parser needs no waiver any more"]


def test_sizes_finds_median_share_file_and_columns(tree):
    root, write = tree
    write("src/base/a.c", "".join(c_function(f"f{i}", 61) for i in range(10)))
    write("src/base/b.c", "".join(c_function(f"f{i}", 21) for i in range(30)))
    write("src/base/c.c", "".join(c_function(f"f{i}", 3) for i in range(10)))
    write("src/base/d.h", "\n" * 1001)
    write("src/base/e.h", "x" * 121 + "\n")
    found = "\n".join(check_sizes.check(root)[0])
    for what in ("median function has 21 lines", "20.0% of the functions", "d.h:1: 1001 lines", "e.h:1: 121 columns"):
        assert what in found


@pytest.mark.parametrize(
    "code",
    [
        "int a; /* TO" + "DO later */",
        "// FIX" + "ME",
        "double d = strtod(s, NULL);",
        "strcpy(a, b);",
        "sprintf(a, b);",
        "char *p = alloca(n);",
        "#include <ctype.h>",
        "typedef struct thing thing;",
        "if (isdigit(c)) {}",
        "int fd = open(path, O_RDONLY);",
        "int fd = socket(AF_INET, SOCK_STREAM, 0);",
        "int fd = open(path,\n    O_RDONLY |\n    O_CREAT, f(1));",
        "fd = accept(a, NULL, NULL);",
        "    return dup(fd);",
    ],
)
def test_forbidden_finds(tree, code):
    root, write = tree
    write("src/sys/a.c", code + "\n")
    assert len(check_forbidden.check(root)) == 1


@pytest.mark.parametrize(
    "code",
    [
        "/* strcpy( is not used */",
        'const char *s = "strtod(x)";',
        "int fd = open(path,\n    O_RDONLY | O_CLOEXEC);",
        "self->open(self, 1);",
        "int sys_open(const char *path);",
        "vsnprintf(a, n, f, v); snprintf(a, n, f);",
        "int open(struct file *f, int flags);",
        "buf.gets(1);",
    ],
)
def test_forbidden_accepts(tree, code):
    root, write = tree
    write("src/sys/a.c", code + "\n")
    assert check_forbidden.check(root) == []


def archive(root, layer, code):
    folder = root / "build" / "src" / layer
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.c").write_text(code)
    subprocess.run(["gcc", "-c", "-o", folder / "x.o", folder / "x.c"], check=True)
    subprocess.run(["ar", "rc", folder / f"liba_{layer}.a", folder / "x.o"], check=True)


@pytest.mark.parametrize(
    "layer, code, symbol",
    [
        ("gateway", "#include <time.h>\nlong a_now(void) { return time(NULL); }", "time"),
        ("base", "#include <stdlib.h>\nchar *a_env(void) { return getenv(\"X\"); }", "getenv"),
        ("unit", "#include <pthread.h>\nint a_l(pthread_mutex_t *m) { return pthread_mutex_lock(m); }", "pthread_mutex_lock"),
        ("starlink", "int sys_file_read(void);\nint a_f(void) { return sys_file_read(); }", "sys_file_read"),
        ("types", "#include <stdlib.h>\nvoid a_die(void) { abort(); }", "abort"),
    ],
)
def test_purity_finds(tree, layer, code, symbol):
    root, _ = tree
    archive(root, layer, code)
    found, checked = check_purity.check(root, root / "build")
    assert checked == [layer] and len(found) == 1 and f"calls {symbol}," in found[0]


def test_purity_accepts_what_lies_below(tree):
    root, _ = tree
    archive(root, "base", "#include <stdlib.h>\nvoid a_assert_failed(void) { abort(); }")
    archive(root, "wire", "#include <string.h>\nvoid a_assert_failed(void);\nvoid wire_f(char *p) { if (!strchr(p, 1)) a_assert_failed(); }")
    assert check_purity.check(root, root / "build") == ([], ["base", "wire"])


@pytest.mark.parametrize(
    "code, found",
    [
        ("import os\n", "F401"),
        ("def f():\n    return nobody\n", "F821"),
        ("from os import getcwd\n\n\ndef f():\n    getcwd = getcwd()\n    return getcwd\n", "F8"),
        ("import os\n\nprint(os.sep)\n", None),
    ],
)
def test_names_finds(tmp_path, code, found):
    (tmp_path / "a.py").write_text(code)
    done = subprocess.run([sys.executable, ROOT / "tools" / "check_names.py", tmp_path / "a.py"], capture_output=True, text=True)
    assert (done.returncode != 0) == (found is not None) and (found or "") in done.stdout, done.stdout


def test_tidy_finds_a_planted_bug(tmp_path):
    """The real .clang-tidy sees a null dereference and a comparison of a value with itself."""
    (tmp_path / "a.c").write_text("int f(int *p)\n{\n    if (p == 0)\n        return *p;\n    return *p == *p;\n}\n")
    done = subprocess.run(
        ["clang-tidy-14", f"--config-file={ROOT / '.clang-tidy'}", str(tmp_path / "a.c"), "--"], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "clang-analyzer-core.NullDereference" in done.stdout and "misc-redundant-expression" in done.stdout


def test_format_finds_and_keeps_tables():
    def formatted(code):
        style = f"--style=file:{ROOT / '.clang-format'}"
        return subprocess.run(["clang-format-14", style], input=code, capture_output=True, text=True, check=True).stdout

    assert formatted("int  f( void ) {return 1;}\n") == "int f(void)\n{\n    return 1;\n}\n"
    table = 'X(A, "a", 1)\nX(B, "b", 2)\n'
    assert formatted(table) == table


def test_the_tables_name_folders_of_the_house():
    _, layers = check_layers.parse_table((ROOT / "tools" / "layers.txt").read_text())
    pure, _ = check_purity.parse_rules((ROOT / "tools" / "purity.txt").read_text())
    assert set(pure) <= set(layers)
    components = {"starlink", "unit", "gateway", "p2p", "kube", "tfcc"}
    for name in components:
        assert not components & set(layers[name].arrows), f"{name} includes another component"
    above = {"daemon", "cli"}
    assert [name for name, layer in layers.items() if above & set(layer.arrows)] == ["main.c"]
    assert "daemon" not in layers["daemon/shim"].arrows
