"""Steady traffic: a closed loop of clients that send images one after the other and compare every answer with the first one.

A client has one connection that is kept open, a time-out of 30 s in the traffic, and never tries again: what fails, fails."""

import csv
import http.client
import itertools
import threading
import time
import urllib.parse

from . import reading
from .world import DemoError

CLIENTS = 4
TIMEOUT_S = 30
PATIENT_S = 60  # the route's own time-out: for the first answers, which nothing is compared with yet
COLUMNS = ["time", "phase", "image", "status", "unit", "tries", "latency_s", "ok", "error"]


class Client:
    def __init__(self, gateway, timeout_s=TIMEOUT_S):
        parts = urllib.parse.urlsplit(gateway)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)

    def send(self, image):
        """One request; returns its record, with the lines that came under "lines"."""
        record = {"time": time.time(), "image": image.name, "status": 0, "unit": "", "tries": 0, "error": "", "lines": None}
        begun = time.monotonic()
        try:
            self.connection.request("POST", "/ocr", body=image.data, headers={"content-type": "image/png"})
            answer = self.connection.getresponse()
            body = answer.read()
            record["status"] = answer.status
            record["unit"] = answer.headers.get("x-astra-unit", "")
            record["tries"] = int(answer.headers.get("x-astra-tries", 0))
            if answer.status == 200:
                record["lines"] = reading.texts_of(body)
            else:
                record["error"] = body.decode(errors="replace")[:200]
        except (OSError, http.client.HTTPException, DemoError) as error:
            record["error"] = f"{type(error).__name__}: {error}"
            self.connection.close()
        record["latency_s"] = time.monotonic() - begun
        record["ok"] = record["lines"] is not None and (image.expected is None or record["lines"] == image.expected)
        if record["lines"] is not None and not record["ok"]:
            record["error"] = "other lines than in the first answer"
        return record

    def close(self):
        self.connection.close()


def mixture(pages, lines):
    """Every tenth request is a page (one in four of these the long one), all others are single lines."""
    page = itertools.cycle([pages["page.png"]] * 3 + [pages["imageTextN.png"]])
    line = itertools.cycle(lines)
    for n in itertools.count():
        yield next(page) if n % 10 == 5 else next(line)


class Traffic:
    def __init__(self, gateway, pages, lines):
        self.records = []
        self.phase = ""
        self._lock = threading.Lock()
        self._images = mixture(pages, lines)
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(gateway,), daemon=True) for _ in range(CLIENTS)]

    def start(self):
        for thread in self._threads:
            thread.start()

    def _work(self, gateway):
        client = Client(gateway)
        while not self._stopped.is_set():
            with self._lock:
                image, phase = next(self._images), self.phase
            record = client.send(image)
            record["phase"] = phase
            with self._lock:
                self.records.append(record)
            if record["status"] == 0:
                time.sleep(0.1)  # nobody listens: no storm of connections
        client.close()

    def stop(self):
        self._stopped.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S + 5)

    def of(self, phase):
        with self._lock:
            return [record for record in self.records if record["phase"] == phase]

    def write(self, path):
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            for record in sorted(self.records, key=lambda record: record["time"]):
                shown = {"time": f"{record['time']:.3f}", "latency_s": f"{record['latency_s']:.3f}", "ok": int(record["ok"])}
                writer.writerow({**record, **shown})


def failed(records):
    return [record for record in records if not record["ok"]]


def resent(records):
    return [record for record in records if record["tries"] > 1]
