"""`ray start`: the words of the command line are checked one by one, then the processes run until one of them dies or a
SIGTERM comes. What Ray refuses is refused in Ray's words; what Astra must never ask for is refused, too."""

import asyncio  # noqa: F401 (before the forks, so that they share it)
import json
import os
import re
import signal
import stat
import sys
import time

from ray.fake import head, process, raylet

HEAD_ONLY = {"port": int, "ray_client_server_port": int, "dashboard_port": int, "dashboard_host": str, "include_dashboard": str}
COMMON = {"node_ip_address": str, "node_manager_port": int, "object_manager_port": int, "dashboard_agent_listen_port": int,
          "dashboard_agent_grpc_port": int, "runtime_env_agent_port": int, "metrics_export_port": int, "min_worker_port": int,
          "max_worker_port": int, "temp_dir": str, "object_store_memory": int, "memory": int, "num_cpus": int, "num_gpus": int,
          "resources": json.loads, "labels": str, "address": str}  # fmt: skip
FLAGS = {"head", "block", "disable_usage_stats"}
OPTIONAL = {"resources", "labels"}
STORE_MIN = 78643200
INGRESS = ("RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT", "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT")
MONITOR_S = 0.05


class Refused(Exception):
    pass


def usage(message):
    return Refused(f"Usage: ray start [OPTIONS]\nTry 'ray start --help' for help.\n\nError: {message}")


def parse(words):
    given = {}
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        key = name.replace("-", "_")
        if not word.startswith("--") or key not in FLAGS | set(COMMON) | set(HEAD_ONLY):
            raise usage(f"No such option: --{name}" if word.startswith("--") else f"Got unexpected extra argument ({word})")
        if key in given:
            raise Refused(f"fakeray: --{name} twice")
        kind = {**COMMON, **HEAD_ONLY}.get(key)
        try:
            given[key] = kind(value) if kind else True
        except ValueError:
            raise usage(f"Invalid value for '--{name}': '{value}' is not a valid integer.") from None
    return given


def demand(holds, message):
    if not holds:
        raise Refused(message)


def check_role(given):
    if "head" in given:
        demand("address" not in given, "fakeray: --address of a head")
    else:
        demand("address" in given, "`--address` is a required flag unless starting a head node with `--head`.")
        for key in HEAD_ONLY:
            flag = "--" + key.replace("_", "-")
            demand(key not in given, f"`{flag}` should only be specified when starting head node with `--head`.")
    wanted = {*COMMON, *FLAGS, *(HEAD_ONLY if "head" in given else ())} - OPTIONAL - {"address", "head"}
    missing = wanted - set(given)
    demand(not missing, f"fakeray: without {sorted(missing)} two units of a host would meet")


def check_values(given):
    ports = [value for key, value in given.items() if key.endswith("port")]
    base = min(ports) // 100 * 100
    demand(len(set(ports)) == len(ports), f"ValueError: Ray component ports are not unique: {sorted(ports)}")
    demand(all(base <= port < base + 100 for port in ports), f"fakeray: ports outside of one block: {sorted(ports)}")
    demand(given["node_ip_address"] != "127.0.0.1", "fakeray: 127.0.0.1 becomes the machine's outer address")
    demand(given.get("dashboard_host", given["node_ip_address"]) == given["node_ip_address"], "fakeray: another dashboard host")
    demand(len(given["temp_dir"]) <= 41, "OSError: AF_UNIX path length cannot exceed 107 bytes")
    store = given["object_store_memory"]
    demand(store >= STORE_MIN, f"ValueError: Attempting to cap object store memory usage at {store} bytes, but the minimum "
           f"allowed is {STORE_MIN} bytes.")  # fmt: skip
    demand(given["memory"] > 0 and given["num_cpus"] >= 0, "fakeray: memory and cpus must be there")


def read_token(env):
    demand(env.get("RAY_AUTH_MODE") == "token", "fakeray: RAY_AUTH_MODE is not token: anyone could run code here")
    demand("RAY_AUTH_TOKEN" not in env, "fakeray: the token in the environment can be read by any process of the user")
    path = env.get("RAY_AUTH_TOKEN_PATH")
    demand(path, "Token authentication is enabled but no authentication token was found")
    demand(stat.S_IMODE(os.stat(path).st_mode) == 0o600, f"fakeray: {path} can be read by others")
    with open(path) as file:
        token = file.read()
    demand(re.fullmatch("[0-9a-f]{64}", token), "fakeray: the token has not 64 hex digits")
    return token


def check_environment(env, given):
    ports = [env.get(name, "") for name in INGRESS]
    demand(env.get("RAY_SERVE_ENABLE_DIRECT_INGRESS") == "1" and all(ports), "fakeray: no direct ingress")
    base = given["node_manager_port"] // 100
    demand(all(int(port) // 100 == base for port in ports), f"fakeray: replicas' ports {ports} outside of the member's block")
    for name in ("HOME", "TMPDIR", "ASTRA_CLAIM", "ASTRA_UNIT", "ASTRA_MEMBER", "ASTRA_REVISION", "ASTRA_MODELS"):
        demand(env.get(name), f"fakeray: no {name}")
    return [int(port) for port in ports]


def gcs_of(given):
    if "head" in given:
        return given["node_ip_address"], given["port"]
    host, _, port = given["address"].rpartition(":")
    return host, int(port)


def children(start):
    """Name -> pid, in the order of their start."""
    logs = f"{start['temp_dir']}/session_latest/logs"
    os.makedirs(f"{logs}/serve", exist_ok=True)
    started = {}
    if "head" in start:
        started["gcs_server"] = process.fork("gcs_server", head.main, start)
    started["raylet"] = process.fork("raylet", raylet.main, start)
    return started


def follow(started):
    """Until one of them dies. SIGTERM: the drain that Ray grants, then the end."""
    def drain(*_):
        time.sleep(float(os.environ.get("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", 30)))
        os._exit(0)  # the kernel takes the others along

    signal.signal(signal.SIGTERM, drain)
    while True:
        for name, pid in started.items():
            if os.waitpid(pid, os.WNOHANG)[0]:
                print(f"Some Ray subprocesses exited unexpectedly:\n  {name}\n\nRemaining processes will be killed.", flush=True)
                os._exit(1)
        time.sleep(MONITOR_S)


def main(words):
    if words[:1] != ["start"]:
        print(f"Error: No such command '{' '.join(words[:1])}'.")
        return 2
    try:
        given = parse(words[1:])
        check_role(given)
        check_values(given)
        token = read_token(os.environ)
        ports = check_environment(os.environ, given)
    except Refused as refused:
        print(refused, flush=True)
        return 2 if "Usage:" in str(refused) else 1
    delay_s = float(os.environ.get("FAKERAY_START_S", 0))
    started = children({**given, "token": token, "replica_ports": ports, "gcs": gcs_of(given), "delay_s": delay_s})
    print(f"Local node IP: {given['node_ip_address']}\n\nRay runtime started.\n\n--block", flush=True)
    return follow(started)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
