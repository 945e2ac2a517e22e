"""Real Kubernetes for a benchmark (the rig of tests/kube), and requests to it over connections that stay open."""

import http.client
import json
import os
import queue
import sys
import threading

from _peers import ASTRA, ROOT

os.environ["ASTRA"] = str(ASTRA)
sys.path.insert(0, str(ROOT / "tests" / "kube"))
import kubeapi  # noqa: E402
import kubelib  # noqa: E402


def needed():
    """Ends the program with the reason where there is no Kubernetes to run."""
    why = kubelib.why_not()
    if why:
        sys.exit(why)


class Line:
    """What one thread asks, one request after the other, over one connection: a client's own TLS handshakes are no part of a figure."""

    def __init__(self, host, port, context, headers):
        self.connection = http.client.HTTPSConnection(host, port, timeout=60, context=context)
        self.headers = headers

    @classmethod
    def to_plane(cls, plane):
        return cls(plane.api.host, plane.api.port, plane.api.context, {})

    def text(self, method, path, body=None, content="application/json"):
        """The answer's bytes; an ApiError from status 400 on."""
        sent = {**self.headers, "Content-Type": content}
        self.connection.request(method, path, None if body is None else json.dumps(body).encode(), sent)
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status >= 400:
            raise kubeapi.ApiError(answer.status, data, answer.headers, f"{method} {path}: {data[:300]}")
        return data

    def request(self, method, path, body=None, content="application/json"):
        return json.loads(self.text(method, path, body, content))


class Lines:
    """Some threads, each with a Line of its own; send() hands them requests, wait() returns when all are answered."""

    def __init__(self, plane, count):
        self.work, self.failed = queue.Queue(), []
        self.threads = [threading.Thread(target=self._run, args=(Line.to_plane(plane),), daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self, line):
        while (asked := self.work.get()) is not None:
            try:
                line.text(*asked)
            except (kubeapi.ApiError, OSError, http.client.HTTPException) as error:
                self.failed.append(error)
            self.work.task_done()

    def send(self, method, path, body=None):
        self.work.put((method, path, body))

    def wait(self):
        self.work.join()
        if self.failed:
            raise RuntimeError(f"{len(self.failed)} requests failed; the first: {self.failed[0]}")


def pod_like(pod, name, **spec):
    """What is to be created for a pod as that one, of another name, with some fields of its spec set."""
    labels = {"labels": pod["metadata"]["labels"]}
    given = {key: value for key, value in pod["spec"].items() if key not in ("nodeName", "tolerations", "priority", "preemptionPolicy")}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **labels}, "spec": {**given, **spec}}
