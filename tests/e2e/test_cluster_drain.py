"""`astra cluster drain`: a whole cluster is emptied without a failed request, kept empty, and taken back."""

import json
import time

from proclib import wait_for


def test_a_whole_cluster_is_emptied(disaster_world):
    with disaster_world() as world:
        world.deploy(units=4, env={"APP_LOADS_S": 0.5})
        assert {unit["cluster"] for unit in world.units("app")} == {"cluster-1", "cluster-2"}
        with world.traffic() as traffic:
            time.sleep(0.5)
            done = world.run("cluster", "drain", "cluster-1", "--wait", "--timeout", "60s", "-o", "json")
            assert done.returncode == 0, done.stderr
            cluster = json.loads(done.stdout)
            assert cluster["claims"] == 0 and cluster["draining"] and cluster["cordoned"] == 3
            time.sleep(0.5)
        assert traffic.failed == []
        wait_for("all units elsewhere", lambda: {u["cluster"] for u in world.units("app", "READY")} == {"cluster-2"}, 30)
        # an agent that comes back finds no use either, and others are told apart from it
        world.kill_and_see_again("cluster-1-node-1")
        time.sleep(1)  # until its old connection is seen to be closed
        wait_for("it to be empty still", lambda: world.api("GET", "/clusters/cluster-1")["nodeStates"] == {"DRAINED": 3}, 20)
        assert world.api("GET", "/clusters/cluster-1")["cordoned"] == 3
        assert world.api("GET", "/clusters/cluster-2")["cordoned"] == 0
        world.hold("cluster-1-node-2")  # away when the cluster is taken back
        wait_for("its connection to be closed", lambda: sum(n["connected"] for n in world.api("GET", "/nodes")["items"]) == 5, 10)
        assert world.run("cluster", "undrain", "cluster-1").returncode == 0
        wait_for("the return of the others", lambda: world.api("GET", "/clusters/cluster-1")["nodeStates"].get("UP") == 2, 20)
        world.release("cluster-1-node-2")
        wait_for("its return", lambda: world.api("GET", "/clusters/cluster-1")["nodeStates"] == {"UP": 3}, 20)
        assert world.api("GET", "/clusters/cluster-1")["cordoned"] == 0
        assert world.run("cluster", "drain", "nowhere").returncode == 1
