"""Search on and on: simulations from ever new seeds under AddressSanitizer, and each codec fuzzed for a minute, in turns."""

import os
import random
import subprocess
import time

from .world import ROOT

NAME, MINUTES, SEEDS, FUZZ_S = "search", 30, 200, 60


def run(options):
    """Whether nothing was found; what was, its seed or its input, has been printed."""
    minutes, seeds = options.minutes or MINUTES, int(os.environ.get("SIM_SEEDS", SEEDS))
    end, seed = time.monotonic() + minutes * 60, random.randrange(1 << 24)
    while time.monotonic() < end:
        print(f"{NAME}: simulations from seed {seed}, {seeds} seeds; {(end - time.monotonic()) / 60:.0f} minutes left", flush=True)
        env = {**os.environ, "SIM_SEEDS": str(seeds), "SIM_SEED": str(seed)}
        for words in (["tools/sanitize", "address"], ["tools/fuzz", str(FUZZ_S)]):
            if subprocess.run(words, cwd=ROOT, env=env).returncode != 0:
                return False
        seed += seeds
    print(f"{NAME}: nothing found in {minutes:g} minutes", flush=True)
    return True
