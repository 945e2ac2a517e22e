"""A node's raylet: joins the GCS with the unit's token, forks workers (replicas and builds), passes messages between them and
the GCS, tells of their deaths, and answers the health check of its own port."""

import os
import selectors
import socket
import time

from ray.fake import process, replica
from ray.fake.channel import Lines

HEALTH = "HTTP/1.1 {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{}"
JOIN_S = 10


class Raylet:
    def __init__(self, start):
        self.start, self.workers, self.selector = start, {}, selectors.DefaultSelector()
        self.listener = socket.create_server((start["node_ip_address"], start["dashboard_agent_listen_port"]))
        self.selector.register(self.listener, selectors.EVENT_READ, self.health)
        self.gcs = Lines(self.join())
        self.gcs.send(kind="join", **start)
        self.selector.register(self.gcs.sock, selectors.EVENT_READ, self.order)

    def join(self):
        end = time.monotonic() + JOIN_S
        while True:
            try:
                return socket.create_connection(self.start["gcs"], timeout=None)
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def health(self):
        connection, _ = self.listener.accept()
        connection.settimeout(1)
        try:
            request = connection.recv(4096).split(b" ")
            good = len(request) > 1 and request[1] in (b"/api/local_raylet_healthz", b"/api/healthz")
            body = "success" if good else "404: Not Found"
            connection.sendall(HEALTH.format("200 OK" if good else "404 Not Found", len(body), body).encode())
        except OSError:
            pass
        finally:
            connection.close()

    def order(self):
        messages = self.gcs.read()
        if messages is None:
            raise SystemExit("raylet: the GCS is gone")
        for message in messages:
            if message["kind"] == "fork":
                self.fork(message)
            elif message["kind"] == "kill" and message["worker"] in self.workers:
                os.kill(self.workers[message["worker"]][0], 9)
            elif message["worker"] in self.workers:
                self.workers[message["worker"]][1].send(**message)

    def fork(self, message):
        ours, theirs = socket.socketpair()
        pid = process.fork(message["name"], self.child, theirs, message)
        theirs.close()
        worker = message["worker"]
        self.workers[worker] = (pid, Lines(ours))
        self.selector.register(ours, selectors.EVENT_READ, lambda: self.heard(worker))

    def child(self, sock, message):
        self.selector.close()
        self.listener.close()
        self.gcs.sock.close()
        for _, lines in self.workers.values():
            lines.sock.close()
        if message["what"] == "build":
            return replica.build(sock, message)
        process.log_to(f"{self.start['temp_dir']}/session_latest/logs/{message['log']}")
        return replica.main(sock, message)

    def heard(self, worker):
        pid, lines = self.workers[worker]
        messages = lines.read()
        for message in messages or ():
            self.gcs.send(worker=worker, **message)
        if messages is None:
            self.selector.unregister(lines.sock)
            lines.sock.close()
            del self.workers[worker]
            os.waitpid(pid, 0)
            self.gcs.send(kind="ended", worker=worker)

    def run(self):
        while True:
            for key, _ in self.selector.select():
                key.data()


def main(start):
    Raylet(start).run()
