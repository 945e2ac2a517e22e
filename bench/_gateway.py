"""Astra's gateway for a benchmark, told by a stand-in for the server of one route and its endpoints."""

import json
import subprocess
import sys

from _peers import ASTRA
from starlink import Message, Server

APP = {"namespace": "default", "name": "noop"}


class Gateway:
    """Listens at 127.0.0.1:`port`, on one core; `ports` are the endpoints'."""

    def __init__(self, folder, core, ports, access_log):
        ready = folder / "ready.json"
        ready.unlink(missing_ok=True)
        self.server = Server()
        flags = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "server": self.server.address, "ready-file": ready,
                 "access-log": access_log, "token-file": self.server.token_file, "data": folder / "gateway"}
        words = [str(word) for key, value in flags.items() for word in (f"--{key}", value)]
        self.process = subprocess.Popen(["taskset", "-c", core, str(ASTRA), "gateway", *words], stdout=sys.stderr)
        self.pid = self.process.pid
        self.server.wait("SUBSCRIBE")
        endpoints = [Message("ENDPOINT", id=f"e{n}", app=APP, unit="noop-aaaaa", application="noop", ip="127.0.0.1", port=port,
                             state="UP") for n, port in enumerate(ports)]
        self.server.send(
            Message("VIEW_BEGIN", sequence=1, snapshot=True),
            Message("ROUTE", id="r", app=APP, host="*", prefix="/", application="noop", timeout_ms=60000, idle_ms=300000,
                    wait_ms=10000, max_body_bytes=1 << 26, retry_body_bytes=1 << 20, policy="least", max_ongoing=100,
                    units_wanted=1),
            *endpoints,
            Message("VIEW_END", sequence=1),
        )
        self.server.wait("VIEW_ACK")
        self.port = json.loads(ready.read_text())["gateway"]

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.server.close()
