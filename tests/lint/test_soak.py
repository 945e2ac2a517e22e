"""tools/soak finds what it looks for: wrong answers, failures that nothing excuses, growth."""

import http.server
import sys
import threading
import time
import types
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from soaklib import chart, clients, watch  # noqa: E402
from soaklib.world import Course  # noqa: E402


def unit(name, state="READY", app="a"):
    return {"name": name, "app": app, "state": state, "reason": "None", "message": None}


@pytest.fixture
def capacity():
    found = watch.Capacity()
    found.see([unit("a-1"), unit("a-2", "STARTING")], 1.0)
    return found


def test_capacity_begins_with_ready(capacity):
    assert capacity.least("a", 0.5, 0.9) == 0
    assert capacity.least("a", 1.5, 2.0) == 1
    assert capacity.least("a", 0.5, 2.0) == 0


def test_what_nobody_killed_is_no_excuse(capacity):
    """Whatever the platform believes of it; but what leaves because it was told to cannot answer any more."""
    capacity.see([unit("a-1", "UNHEALTHY")], 2.0)
    assert capacity.least("a", 2.5, 3.0) == 1 and list(capacity.unasked) == ["a-1"]
    capacity.see([unit("a-1", "DRAINING")], 4.0)
    assert capacity.least("a", 4.5, 5.0) == 0


def test_the_killed_cannot_answer(capacity):
    capacity.see([unit("a-1"), unit("a-2")], 2.0)
    capacity.kill("a-1", "a")
    now = time.monotonic()
    assert capacity.count("a") == 1
    capacity.see([unit("a-1"), unit("a-2")], now + 1)  # the server has not noticed yet
    assert capacity.count("a") == 1 and not capacity.unasked
    capacity.kill("a-2", "a")
    assert capacity.least("a", now - 1, now + 1) == 0


def test_the_hurt_come_back(capacity):
    now = time.monotonic()
    capacity.kill("a-1", "a", 5)
    capacity.see([unit("a-1", "UNHEALTHY")], now + 1)
    assert capacity.count("a") == 0 and not capacity.unasked
    capacity.see([unit("a-1")], now + 6)
    assert capacity.count("a") == 1


def test_time_without_anybody(capacity):
    capacity.see([], 3.0)
    capacity.see([unit("a-3")], 7.0)
    assert capacity.none_s("a", 2.0, 10.0) == pytest.approx(4.0)


def series(function, n=240, step_s=5):
    return {"server": [(i * step_s, function(i), 30) for i in range(n)]}


def flat(samples):
    return {what: is_flat for _, what, _, _, is_flat in watch.flatness(samples)}


@pytest.mark.parametrize(
    "function, is_flat",
    [
        (lambda i: 20.0, True),
        (lambda i: 20 + min(i, 59) / 10, True),  # a warm-up
        (lambda i: 20 + i % 7 / 5, True),
        (lambda i: 20 + (20 if i > 230 else 0), True),  # a peak, even at the end
        (lambda i: 20 + i / 100, False),  # 7 MiB an hour
        (lambda i: 20 + i // 60 * 1.0, False),  # by steps
    ],
)
def test_flat(function, is_flat):
    assert flat(series(function)) == {"MiB": is_flat, "descriptors": True}


def test_mean():
    """One agent's members go to another one: that is no growth."""
    moved = [[(i, 20 + i / 50, 20 + i) for i in range(100)], [(i, 22 - i / 50, 120 - i) for i in range(100)]]
    assert watch.mean_of(moved)[7] == (7, pytest.approx(21), 70)
    assert flat({"agent": moved[0]}) == {"MiB": False, "descriptors": False}
    assert flat({"agent": watch.mean_of(moved)}) == {"MiB": True, "descriptors": True}


def test_descriptors_that_leak():
    samples = {"agent": [(i * 5, 20.0, 20 + i // 20) for i in range(240)]}
    assert flat(samples) == {"MiB": True, "descriptors": False}


class Answers(http.server.BaseHTTPRequestHandler):
    """What the app answers, or what the path's first part names."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        app, number = self.path.split("/")[1], self.path.split("n=")[1].split("&")[0]
        line = {"another": f"right-u1 {number}", "late": f"{app}-u1 0-0"}.get(app, f"{app}-u1 {number}")
        body = line.encode() + b"\n"
        self.send_response(503 if app == "refused" else 200)
        self.send_header("content-length", len(body))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def origin():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("app, wrong", [("right", None), ("another", True), ("late", True), ("refused", False)])
def test_answers_are_compared(origin, app, wrong, monkeypatch):
    client = clients.Client(origin, app, 0, 1)
    monkeypatch.setattr(client.random, "random", lambda: 0.2)  # a GET
    bad = client.ask()
    assert (bad and bad[0]) == wrong
    client.close()


def test_a_body_that_does_not_come_back(origin, monkeypatch):
    client = clients.Client(origin, "right", 0, 1)
    monkeypatch.setattr(Answers, "do_POST", Answers.do_GET, raising=False)
    monkeypatch.setattr(client.random, "random", lambda: 0.5)
    assert client.ask()[0]
    client.close()


def judged(bad, able):
    """The failed bounds of a course whose clients saw one bad request while so many units were able."""
    course = Course(types.SimpleNamespace(minutes=0.01, stand_in=True, seed=1))
    course.clients, course.tracker = clients.Clients("http://127.0.0.1:1", ["a"], 1), watch.Tracker(None, 1)
    course.clients.seconds[1], course.clients.bad, course.clients.answered["a"] = [99, 1], [bad], 99
    course.tracker.capacity.see([unit(f"a-{i}") for i in range(able)], 0.5)
    course.sampler, course.began, course.ended, course.judge = watch.Sampler({}), 0.0, 2.0, lambda: None
    course.judge_all()
    return [text for text, holds in course.bounds if not holds]


def test_verdict():
    failed, wrong = clients.Bad(1.0, 1.5, "a", False, "502"), clients.Bad(1.0, 1.5, "a", True, "another's")
    assert judged(failed, 0) == []
    assert judged(failed, 1) == ["1 requests failed while a unit could answer"]
    assert judged(wrong, 0) == judged(wrong, 1) == ["1 wrong answers of 100"]


def test_picture():
    panels = [chart.Panel("one <1>", {"a": [(i, i % 100) for i in range(5000)]}, bars=[(7, 3)], bars_name="bad", marks=[(9, "x & y")]),
              chart.Panel("none", {"a": []})]  # fmt: skip
    root = ElementTree.fromstring(chart.draw("title & all", panels))
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines[0].get("points").split()) <= chart.POINTS and lines[1].get("points") == ""
