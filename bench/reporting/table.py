"""The records of one results file, by contender, layout and load, and what makes them comparable.

A wrong answer voids every run of its contender and load; runs on a busy machine are dropped and
counted; only runs of one repetition are ever divided by each other.
"""

import json
import random
import statistics
from pathlib import Path

SLOT_WORDS = ("no binary 'envoy'", "no binary 'ztunnel'", "no configuration")
# Rows of their own: measured once or against themselves, not per contender.
SINGLE_ROWS = ("one-request", "pods-", "10000-services", "swap-", "victim-", "soak-", "enrol-",
               "cross-check-", "finished")


def read(path):
    return [json.loads(line) for line in Path(path).read_text().split("\n") if line.strip()]


def is_slot(record):
    return any(word in record["error"] for word in SLOT_WORDS)


def broken(records):
    """Errors that are not an empty slot; one line per contender and load."""
    found = {}
    for r in records:
        if "error" in r and not is_slot(r):
            found[f"{r['contender']}/{r['layout']} {r['load']['name']}"] = r["error"]
    return [f"{key}: {error}" for key, error in found.items()]


class Table:
    """Good records by (contender, layout, load) and repetition."""

    def __init__(self, records):
        self.records = records
        self.good, self.dropped, self.errors = {}, {}, {}
        self.finished = any(r["load"]["name"] == "finished" for r in records)
        self.strict = records[0].get("noise", "strict") == "strict"
        for r in records:
            if r["load"]["name"].startswith(SINGLE_ROWS):
                continue
            key = (r["contender"], r["layout"], r["load"]["name"])
            if "error" in r:
                self.errors[key] = r["error"]
            elif "dropped" in r:
                self.dropped[key] = self.dropped.get(key, 0) + 1
            else:
                self.good.setdefault(key, {})[r["repetition"]] = r
        for key in self.errors:
            self.good.pop(key, None)
        self._add_latency_over_direct()

    def _add_latency_over_direct(self):
        for (_, layout, load), runs in self.good.items():
            base = self.good.get(("direct", layout, load), {})
            for repetition, r in runs.items():
                if repetition in base:
                    for q in ("p50", "p99"):
                        r[f"added_{q}_us"] = r[f"{q}_us"] - base[repetition][f"{q}_us"]

    def single(self, prefix):
        return [r for r in self.records if r["load"]["name"].startswith(prefix)]

    def last(self, name):
        """The last record of exactly this load; empty when there is none."""
        found = [r for r in self.records if r["load"]["name"] == name]
        return found[-1] if found else {}

    def values(self, contender, layout, load, field):
        runs = self.good.get((contender, layout, load), {})
        return {rep: r[field] for rep, r in sorted(runs.items()) if r.get(field) is not None}

    def why_absent(self, contender, layout, load):
        if (contender, layout, load) in self.errors:
            return self.errors[(contender, layout, load)]
        if (contender, layout, load) in self.dropped:
            return "machine busy"
        reasons = [e for (c, lay, _), e in self.errors.items() if (c, lay) == (contender, layout)]
        return reasons[0] if reasons else "not measured by this suite"

    def rivals(self, layout, load):
        """(pairs with figures, why the others have none). Between nodes the mesh encrypts, so a
        plaintext pair is no rival there. S is only known when every pair of the run answered."""
        good, missing = [], {}
        for key in {*self.good, *self.errors, *self.dropped}:
            name, lay, what = key
            if (lay, what) != (layout, load) or not name.startswith("pair-"):
                continue
            if layout == "two" and "plain" in name:
                continue
            if key in self.good:
                good.append(name)
            else:
                missing[name] = self.why_absent(*key)
        return sorted(good), missing

    def best_pair(self, layout, load, field, choose):
        return self._best(self.rivals(layout, load)[0], layout, load, field, choose)

    def best(self, prefix, layout, load, field, choose):
        """The best of all whose name begins like this; None without any."""
        names = {c for c, lay, what in self.good
                 if (lay, what) == (layout, load) and c.startswith(prefix)}
        return self._best(sorted(names), layout, load, field, choose)

    def _best(self, names, layout, load, field, choose):
        medians = {}
        for name in names:
            values = self.values(name, layout, load, field)
            if values:
                medians[name] = statistics.median(values.values())
        return choose(medians, key=medians.get) if medians else None


def ratio_interval(ours, theirs):
    """(median, low, high, n) of the per-repetition ratios, or None."""
    ratios = [ours[rep] / theirs[rep] for rep in ours if theirs.get(rep, 0) > 0]
    if not ratios:
        return None
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(1000))
    return statistics.median(ratios), medians[50], medians[949], len(ratios)
