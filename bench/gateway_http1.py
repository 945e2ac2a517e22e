"""Requests per proxy core-second over keep-alive, beside HAProxy 2.6, nginx 1.22 and a bare byte forwarder.

gateway-http1 is the ratio to HAProxy, .nginx and .forwarder to the others. All four are one thread on core 1, write no access log, and
pass to the same origin, which shares core 0 with wrk (32 connections, small GETs). Counted is what the proxy's own thread used, as the
kernel's scheduler accounts it: a machine that is busy elsewhere hardly moves it. HAProxy and nginx keep connections to the origin
(http-reuse always; keepalive 64) and add no headers, while Astra adds x-request-id and x-forwarded-*; the forwarder does not even read.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from _gateway import Gateway
from _peers import cpu_seconds, debian, free_port, http_peer, libraries, wrk
from _rows import ratio_rows

LOAD_CORE, PROXY_CORE = "0", "1"
CONNECTIONS = 32
HAPROXY = """
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    option http-keep-alive
    http-reuse always
    timeout connect 1s
    timeout client 60s
    timeout server 60s
frontend in
    bind 127.0.0.1:{port}
    default_backend origin
backend origin
    server one 127.0.0.1:{origin}
"""
NGINX = """
worker_processes 1;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
"""


def say(text):
    print(f"gateway-http1: {text}", file=sys.stderr, flush=True)


class Program:
    """A pinned process that listens at `port`."""

    def __init__(self, core, port, *command, **options):
        self.port = port
        self.process = subprocess.Popen(["taskset", "-c", core, *map(str, command)], stdout=sys.stderr, **options)
        self.pid = self.process.pid
        deadline = time.monotonic() + 10
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).read()
                return
            except (OSError, urllib.error.URLError):
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(f"{command[0]} does not answer") from None
                time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def haproxy(folder, origin):
    peer = debian("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")
    port, config = free_port(), folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, origin=origin))
    return Program(PROXY_CORE, port, peer / "usr/sbin/haproxy", "-db", "-f", config, env=libraries(peer))


def nginx(folder, origin):
    peer, port, config = debian("nginx"), free_port(), folder / "nginx.conf"
    config.write_text(NGINX.format(port=port, origin=origin, folder=folder))
    return Program(PROXY_CORE, port, peer / "usr/sbin/nginx", "-p", folder, "-c", config, env=libraries(peer))


def rounds(proxies, o):
    """For each proxy its requests per core-second, taken in turns."""
    out = {name: [] for name in proxies}
    for proxy in proxies.values():
        wrk(LOAD_CORE, proxy.port, CONNECTIONS, 1)  # warm
    for number in range(o.pairs):
        for name in list(proxies) if number % 2 == 0 else reversed(list(proxies)):
            before = cpu_seconds(proxies[name].pid)
            requests, rate, _ = wrk(LOAD_CORE, proxies[name].port, CONNECTIONS, o.seconds)
            used = cpu_seconds(proxies[name].pid) - before
            out[name].append(requests / used)
            say(f"{number + 1}/{o.pairs} {name}: {requests / used:.0f} a core-second, {rate:.0f}/s, "
                f"{100 * used / o.seconds:.0f} % of its core")
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3, help="of one measurement")
    o = parser.parse_args()
    folder, running = Path(tempfile.mkdtemp(prefix="astra-bench-", dir="/tmp")), []
    try:
        binary, at = http_peer(), free_port()
        origin = Program(LOAD_CORE, at, binary, "origin", at)
        running.append(origin)
        proxies = {"astra": Gateway(folder, PROXY_CORE, [at], "off")}
        running.append(proxies["astra"])
        for name, make in {"haproxy": haproxy, "nginx": nginx}.items():
            proxies[name] = make(folder, at)
            running.append(proxies[name])
        port = free_port()
        proxies["forwarder"] = Program(PROXY_CORE, port, binary, "forward", port, at)
        running.append(proxies["forwarder"])
        measured = rounds(proxies, o)
    finally:
        for program in reversed(running):
            program.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for name, figure, peer, bounds in (
        ("haproxy", "gateway-http1", "HAProxy 2.6, http-reuse always, one thread", {"min": 1.0}),
        ("nginx", "gateway-http1.nginx", "nginx 1.22, one worker", {}),
        ("forwarder", "gateway-http1.forwarder", "a bare byte forwarder", {}),
    ):
        ratio_rows(figure, f"gateway-http1.detail.{name}", "requests per core-second", measured["astra"], peer, measured[name], **bounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
