"""A platform for a benchmark (`astra up` in a folder of its own) with the no-op Serve app on real Ray."""

import os
import shutil
import subprocess
import sys

from _peers import ASTRA, ROOT, WORK
from agentlib import tar_zst
from platformlib import Platform

os.environ["ASTRA"] = str(ASTRA)
REQUIREMENTS = "ray[serve]==2.60.0\n"
CODE = """
from ray import serve

@serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0})
class Noop:
    async def __call__(self, request):
        return "ok"

app = Noop.bind()
"""


def archive():
    """A packed environment with Ray, kept under build/bench."""
    requirements, packed = WORK / "ray.txt", WORK / "env-ray.tar.zst"
    if not packed.exists():
        WORK.mkdir(parents=True, exist_ok=True)
        requirements.write_text(REQUIREMENTS)
        packer = [sys.executable, "-m", "astra.envpack", "pack", requirements, "-o", packed, "--cache", WORK / "cache"]
        subprocess.run(packer, check=True, stdout=sys.stderr, env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
    return packed


def unpacked():
    """The same, as a folder."""
    folder = WORK / "env-ray"
    if not (folder / "astra-env.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        subprocess.run(["tar", "--zstd", "-xf", archive(), "-C", folder], check=True)
    return folder


def spec(units):
    return {
        "units": units,
        "environment": [{"artifact": "ray@1"}],
        "code": {"artifact": "noop@1"},
        "head": {"cpu": 1, "memory": "2Gi"},
        "serve": {"applications": [{"name": "noop", "import_path": "noop:app", "route_prefix": "/noop"}]},
        "routes": [{"idempotent": True}],
    }


def platform(folder):
    """Up, with the artifacts; the caller ends it by run("down", "--data", data)."""
    packed = archive()
    world = Platform(folder)
    world.up()
    world.put_artifact("ray@1", packed.read_bytes())
    world.put_artifact("noop@1", tar_zst({"noop.py": CODE}))
    return world
