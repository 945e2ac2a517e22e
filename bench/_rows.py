"""Printing of result rows for the benchmarks of this folder; bench/README.md says what each field means."""

import json
import statistics


def row(name, value, unit, runs=(), *, peer=None, peer_value=None, ratio=None, note="", **bounds):
    """Print one row. `bounds` (min=, max=) are what `value` must keep; bench/run judges them and takes them off."""
    fields = {"name": name, "value": rounded(value), "unit": unit, "peer": peer, "peer_value": rounded(peer_value),
              "ratio": rounded(ratio), "runs": [rounded(r) for r in runs], "note": note, **bounds}
    print(json.dumps(fields), flush=True)


def rounded(number):
    return None if number is None else float(f"{number:.5g}")


def ratio_rows(name, detail, unit, own, peer, theirs, **bounds):
    """The figure `name`, the median of the ratios of pairs, and the row `detail` with what both sides measured."""
    pairs = [a / b for a, b in zip(own, theirs)]
    value = statistics.median(pairs)
    note = f"lowest {min(pairs):.3g}, highest {max(pairs):.3g}"
    row(name, value, "ratio", pairs, peer=peer, peer_value=1, ratio=value, note=note, **bounds)
    row(detail, statistics.median(own), unit, own, peer=peer, peer_value=statistics.median(theirs), ratio=value)
