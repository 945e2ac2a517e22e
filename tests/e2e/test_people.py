"""What people are told of requests: top, success ratios, and what is kept of them over a restart."""

import json
import os
import pty
import re
import select
import signal
import subprocess

import pytest
from playlib import Platform, wait_for
from test_api import APP, ASTRA, Api, deploy, wait_ready


@pytest.fixture
def platform(tmp_path):
    with Platform(ASTRA, tmp_path) as p:
        p.node("node-1", cluster="c1")
        yield p


@pytest.fixture
def api(platform):
    return Api(platform, platform.token)


@pytest.fixture
def unit(api):
    deploy(api)
    wait_ready(api, 1)
    return api.items(f"{APP}/units")[0]["name"]


def top(api):
    (app,) = api.items("/v1/top")
    return app


def test_top(platform, api, unit):
    one, two = platform.gateway("g1"), platform.gateway("g2")
    one.report("tiny", requests=90, ok=90, latency={2: 90}, in_flight=4, queued=1)
    two.report("tiny", requests=10, ok=5, failed=5, failed_app=3, failed_client=2, latency={2: 8, 9: 2}, in_flight=3, retried=7)
    one.report_endpoint(unit, ok=90, latency={2: 90}, in_flight=4)
    two.report_endpoint(unit, ok=5, failed=5, resent=7, in_flight=3)
    app = wait_for(lambda: (a := top(api))["requestsPerSecond"] == 10 and a["inFlight"] == 7 and a["units"][0]["inFlight"] == 7 and a)
    assert (app["errorsPerSecond"], app["retriesPerSecond"], app["queued"]) == (0.3, 0.7, 1), "a client's doing is no error"
    assert 0.001 < app["p50Seconds"] < 0.0025 and 0.25 < app["p99Seconds"] <= 0.5
    (seen,) = app["units"]
    assert (seen["name"], seen["requestsPerSecond"], seen["errorsPerSecond"]) == (unit, 10, 0.5)
    one.close()
    wait_for(lambda: top(api)["inFlight"] == 3)

    text = platform.astra("top", "--once").stdout
    assert re.search(r"^default/tiny +1/1 ready +10\.0 +\S+ms +\d+ms +0\.3 +0\.7 +3 +\d", text, re.M), text
    assert re.search(rf"^  {unit} +READY +10\.0 ", text, re.M), text
    assert unit not in platform.astra("top", "--once", "--apps").stdout
    assert platform.json("top")["items"][0]["name"] == "tiny"
    assert wait_for(lambda: top(api)["requestsPerSecond"] == 0, 15, 0.5), "over after ten seconds"
    assert top(api)["p99Seconds"] is None
    two.close()


def test_top_is_drawn_again(platform, api, unit):
    master, slave = pty.openpty()
    process = subprocess.Popen([str(ASTRA), "top", "--interval", "100ms"], env=platform.environment(), stdout=slave, stdin=slave)
    os.close(slave)
    seen = b""

    def drawn_twice():
        nonlocal seen
        if select.select([master], [], [], 0.1)[0]:
            seen += os.read(master, 65536)
        return seen.count(b"default/tiny") >= 3 and re.search(rb"\x1b\[3A", seen)

    wait_for(drawn_twice)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    os.close(master)


def test_success_is_split_by_cause_and_kept(platform, api, unit):
    assert top(api)["success"]["hour"] == {"ratio": None, "requests": 0, "failed": dict.fromkeys(
        ("app", "unitLost", "drain", "gateway", "noCapacity", "timeout", "client"), 0)}  # fmt: skip
    assert "SUCCESS" not in platform.astra("status").stdout, "no requests, no figures"
    gateway = platform.gateway()
    gateway.report(
        "tiny", requests=1000, ok=989, failed=11, failed_app=4, failed_node=3, failed_capacity=2, failed_timeout=1, failed_client=1
    )
    success = wait_for(lambda: (s := top(api)["success"])["hour"]["requests"] == 1000 and s)
    for window in ("hour", "month"):
        assert abs(success[window]["ratio"] - 989 / 999) < 1e-9
        failed = {cause: n for cause, n in success[window]["failed"].items() if n}
        assert failed == {"app": 4, "unitLost": 3, "noCapacity": 2, "timeout": 1, "client": 1}
    assert api.ok("GET", APP)["status"]["success"] == success
    text = platform.astra("status").stdout
    assert re.search(r"^default +tiny +98\.999% +98\.999% +app 4, unitLost 3, noCapacity 2, timeout 1, client 1$", text, re.M), text
    metrics = api.ok("GET", "/metrics").decode()
    assert re.search(r'^astra_server_app_success_ratio{namespace="default",app="tiny",window="30d"} 0\.98998', metrics, re.M)
    assert 'astra_server_app_requests_total{namespace="default",app="tiny",outcome="unitLost"} 3\n' in metrics

    gateway.close()
    platform.stop()
    platform.start_again()
    api.host, api.token = platform.api.removeprefix("https://"), platform.token
    assert top(api)["success"] == success, "a restart forgets nothing"
    platform.gateway().report("tiny", requests=1, ok=1)
    wait_for(lambda: top(api)["success"]["month"]["requests"] == 1001)


def test_a_crash_loses_what_came_after_the_last_record(tmp_path):
    with Platform(ASTRA, tmp_path, "--counts-every", "300ms") as platform:
        platform.node("node-1", cluster="c1")
        api = Api(platform, platform.token)
        deploy(api)
        wait_ready(api, 1)
        for n in range(1, 4):
            platform.gateway().report("tiny", requests=1000, ok=1000)
            wait_for(lambda: top(api)["success"]["month"]["requests"] == 1000 * n)
            wait_for(lambda: stored(platform) == 1000 * n)
            platform.crash()
            platform.start_again()
            api.host, api.token = platform.api.removeprefix("https://"), platform.token
            assert top(api)["success"]["month"]["requests"] == 1000 * n, "killed, and nothing was lost"


def stored(platform):
    """The most requests that a record of the last hour in the store's files has; the store itself is locked."""
    data = b"".join(file.read_bytes() for file in platform.data.glob("astra.db*"))
    records = [json.loads(rows) for rows in re.findall(rb'"to":\d+,"rows":(\[\[[\d,\[\]]*\]\])\}', data)]
    return max((sum(sum(row[1:]) for row in rows) for rows in records), default=0)


def test_a_new_app_of_the_same_name_begins_anew(platform, api, unit):
    platform.gateway().report("tiny", requests=5, ok=5)
    wait_for(lambda: top(api)["success"]["hour"]["requests"] == 5)
    platform.astra("delete", "tiny", "--wait")
    platform.stop()
    platform.start_again()
    api.host, api.token = platform.api.removeprefix("https://"), platform.token
    deploy(api)
    assert top(api)["success"]["month"]["requests"] == 0
