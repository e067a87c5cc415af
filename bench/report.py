#!/usr/bin/env python3
"""Turns a results file into a Markdown report and SVG plots.

    bench/report.py bench/results/full-....jsonl

Only runs of the same file are compared. A ratio is the median of the ratios inside each
repetition, with a bootstrap 90 % interval; a goal passes only if the worse end of its interval
passes. Runs with a wrong answer give no figure, runs on a busy machine are dropped and counted.
"""

import json
import random
import statistics
import sys
from pathlib import Path

import plots

ABSENT = ("no binary", "no configuration")


class Goal:
    def __init__(self, row, metric, layout, load, value, against, step, aim):
        self.row, self.metric, self.layout, self.load = row, metric, layout, load
        self.value, self.against, self.step, self.aim = value, against, step, aim

    @property
    def higher_is_better(self):
        return self.value == "rate"


GOALS = [
    Goal(1, "same-node L7 requests/s", "same", "saturated-64", "rate", "S", 1.6, 2.5),
    Goal(1, "same-node L7 requests/s", "same", "saturated-64", "rate", "hop-haproxy", 1.0, None),
    Goal(1, "same-node L7 requests/s", "same", "saturated-64", "rate", "D", None, 1.5),
    Goal(2, "two-node mTLS L7 requests/s", "two", "saturated-64", "rate", "S", 1.25, 1.8),
    Goal(3, "saturated mesh CPU per request", "same", "saturated-64", "cpu_mesh_us", "S", 0.6, 0.3),
    Goal(3, "saturated mesh CPU per request", "two", "saturated-64", "cpu_mesh_us", "S", 0.8, 0.5),
    Goal(4, "mesh CPU per request at 1000/s", "same", "1000/s", "cpu_mesh_us", "S", 0.5, 0.25),
    Goal(4, "mesh CPU per request at 1000/s", "two", "1000/s", "cpu_mesh_us", "S", 0.5, 0.25),
    *[Goal(5, f"added {q} at {rate}", layout, rate, f"added_{q}_us", "S", *limits)
      for layout in ("same", "two") for rate in ("1000/s", "8000/s")
      for q, limits in (("p50", (0.5, 0.3)), ("p99", (0.6, 0.4)))],
    Goal(6, "one core, one connection, p50", "same", "one-connection-one-core", "p50_us", "D", 2.0,
         1.3),
    Goal(6, "one core, one connection, p50", "two", "one-connection-one-core", "p50_us", "S", 0.9,
         0.65),
    Goal(9, "new connections/s, warm", "two", "connection-per-request", "rate", "D", 0.8, 1.0),
    Goal(10, "bulk", "same", "bulk-8MB", "rate", "D", 0.45, 0.9),
    Goal(10, "bulk", "two", "bulk-8MB", "rate", "S", 1.5, 2.5),
]
UNMEASURED = {8: "handshakes/s per core"}


SINGLE_ROWS = ("one-request", "pods-", "10000-services", "swap-", "victim-", "soak-")


def read(path):
    return [json.loads(line) for line in Path(path).read_text().split("\n") if line.strip()]


def broken_opponents(records):
    """Errors that are not plain absence; one line per contender and load."""
    found = {}
    for r in records:
        if "error" in r and not any(word in r["error"] for word in ABSENT):
            found[f"{r['contender']}/{r['layout']} {r['load']['name']}"] = r["error"]
    return [f"{key}: {error}" for key, error in found.items()]


class Table:
    """Good records by (contender, layout, load) and repetition."""

    def __init__(self, records):
        self.good, self.dropped, self.errors = {}, {}, {}
        self.noise = records[0].get("noise", "strict")
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
            self.good.pop(key, None)  # a wrong answer voids every run of that row
        self._add_latency_over_direct()

    def _add_latency_over_direct(self):
        for (_, layout, load), runs in self.good.items():
            base = self.good.get(("direct", layout, load), {})
            for repetition, r in runs.items():
                if repetition in base:
                    for q in ("p50", "p99"):
                        r[f"added_{q}_us"] = r[f"{q}_us"] - base[repetition][f"{q}_us"]

    def values(self, contender, layout, load, field):
        runs = self.good.get((contender, layout, load), {})
        return {rep: r[field] for rep, r in sorted(runs.items()) if r.get(field) is not None}

    def why_absent(self, contender, layout, load):
        if (contender, layout, load) in self.dropped:
            return "machine busy"
        if (contender, layout, load) in self.errors:
            return self.errors[(contender, layout, load)]
        reasons = [e for (c, lay, _), e in self.errors.items() if (c, lay) == (contender, layout)]
        return reasons[0] if reasons else "not measured by this suite"

    def best_pair(self, goal):
        pairs = {}
        for contender, layout, load in self.good:
            if contender.startswith("pair-") and (layout, load) == (goal.layout, goal.load):
                values = self.values(contender, layout, load, goal.value)
                if values:
                    pairs[contender] = statistics.median(values.values())
        if goal.layout == "two":  # between nodes the mesh encrypts: a plaintext pair is no rival
            pairs = {name: v for name, v in pairs.items() if "plain" not in name}
        choose = max if goal.higher_is_better else min
        return choose(pairs, key=pairs.get) if pairs else None


def ratio_interval(ours, theirs):
    """(median, low, high, n) of the per-repetition ratios, or None."""
    ratios = [ours[rep] / theirs[rep] for rep in ours if theirs.get(rep, 0) > 0]
    if not ratios:
        return None
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(1000))
    return statistics.median(ratios), medians[50], medians[949], len(ratios)


def verdict(goal, interval, noise):
    if noise != "strict":
        return "noise accepted: no verdict"
    worse = interval[1] if goal.higher_is_better else interval[2]

    def passes(limit):
        return worse >= limit if goal.higher_is_better else worse <= limit

    if goal.aim is not None and passes(goal.aim):
        return "aim"
    if goal.step is None:
        return "below the aim"
    return "pass" if passes(goal.step) else "MISS"


def goal_line(table, goal):
    sign = ">=" if goal.higher_is_better else "<="
    wanted = "; ".join(f"{name} {sign} {limit} x {goal.against}"
                       for name, limit in (("step", goal.step), ("aim", goal.aim)) if limit)
    head = f"| {goal.row} | {goal.metric}, {goal.layout} | {wanted} |"
    ours = table.values("orlop", goal.layout, goal.load, goal.value)
    rival = {"S": table.best_pair(goal), "D": "direct"}.get(goal.against, goal.against)
    theirs = table.values(rival, goal.layout, goal.load, goal.value) if rival else {}
    interval = ratio_interval(ours, theirs)
    if interval is None:
        why = "" if ours else table.why_absent("orlop", goal.layout, goal.load)
        return f"{head} | | {rival or 'no pair'} | | {why or 'no rival in this run'} |"
    ratio, low, high, n = interval
    return (f"{head} {statistics.median(ours.values()):.1f} |"
            f" {rival} {statistics.median(theirs.values()):.1f} |"
            f" {ratio:.2f} ({low:.2f} to {high:.2f}, n={n}) |"
            f" {verdict(goal, interval, table.noise)} |")


def pods(records):
    """Rows 7, 12 and 13 of suite `scale`: one run each, no interval."""
    by_name = {(r["contender"], r["load"]["name"]): r for r in records}
    sidecar = by_name.get(("sidecar-haproxy", "pods-100"), {})
    lines = []
    for count, step, aim in ((100, 10, 15), (1000, 40, 60)):
        r = by_name.get(("orlop", f"pods-{count}"))
        head = f"| 7 | PSS of {count} enrolled pods, MB | step 1/{step} of sidecars; aim 1/{aim} |"
        if not r or "error" in r or "pss_kb" not in sidecar:
            why = (r or {}).get("error") or sidecar.get("error") or "not measured by this suite"
            lines.append(f"{head} | | | {why} |")
            continue
        theirs = sidecar["pss_kb"] / sidecar["pods"] * count
        ratio = theirs / r["pss_kb"]
        result = "aim" if ratio >= aim else "pass" if ratio >= step else "MISS"
        lines.append(f"{head} {r['pss_kb'] / 1024:.1f} | sidecars {theirs / 1024:.0f} |"
                     f" 1/{ratio:.1f} | {result} |")
    r = by_name.get(("orlop", "pods-1000"), {"error": "not measured by this suite"})
    for row, text, field, step, aim, unit in (
            (12, "idle CPU, 1000 pods", "idle_cpu_percent", 0.1, 0.02, "% of a core"),
            (13, "enrolling 1000 pods", "enrol_s", 5, 1, "s")):
        head = f"| {row} | {text} | step <= {step} {unit}; aim <= {aim} {unit} |"
        value = None if "error" in r else r.get(field)
        if value is None:
            lines.append(f"{head} | | | {r.get('error', 'not measured')} |")
            continue
        result = "aim" if value <= aim else "pass" if value <= step else "MISS"
        lines.append(f"{head} {value:.3f} | | | {result} |")
    return lines


def single(row, text, wanted, value, unit, limits, why):
    """A line of a row that has no rival: limits are (step, aim), lower is better."""
    head = f"| {row} | {text} | {wanted} |"
    if value is None:
        return f"{head} | | | {why} |"
    step, aim = limits
    result = "aim" if value <= aim else "pass" if value <= step else "MISS"
    return f"{head} {value:.3g} {unit} | | | {result} |"


def big_configuration(records):
    """Row 11: one run, no interval."""
    found = [r for r in records if r["load"]["name"] == "10000-services"]
    r = found[-1] if found else {}
    why = r.get("error", "not measured by this suite")
    update = r.get("update_ms", {})
    slowdown = 1 / r["rate_ratio"] if r.get("rate_ratio") else None
    return [
        single(11, "10,000 services, 100,000 endpoints: PSS", "<= 150 MB; <= 32 MB",
               r["pss_kb"] / 1024 if "pss_kb" in r else None, "MB", (150, 32), why),
        single(11, "start to first answer", "<= 2 s; <= 0.2 s", r.get("ready_s"), "s", (2, 0.2),
               why),
        single(11, "one endpoint's change in force, p50", "<= 5 ms; <= 1 ms", update.get("p50"),
               "ms", (5, 1), why),
        single(11, "requests/s with 10 services against 10,000", "<= 1/0.95; <= 1.0", slowdown,
               "x", (1 / 0.95, 1.0), why)]


def events(records):
    """Rows 14 and 15: the median of the repetitions against the run's own quiet time."""
    lines = []
    for row, text, name, field, limits in (
            (14, "p99 at a configuration swap, 5000/s", "swap-5000/s", "swap_ratio", (3, 1.5)),
            (14, "p99 above 1.5 x after the swap, ms", "swap-5000/s", "raised_ms", (1000, 100)),
            (15, "victim's p99 beside a neighbour", "victim-100/s", "victim_ratio", (2, 1.1)),
            (15, "the same without any mesh", "victim-100/s", "direct_victim_ratio", (2, 1.1))):
        runs = [r for r in records if r["load"]["name"] == name]
        errors = [r["error"] for r in runs if "error" in r]
        values = [r[field] for r in runs if field in r and "dropped" not in r]
        why = errors[0] if errors else "machine busy" if runs else "not measured by this suite"
        value = statistics.median(values) if values and not errors else None
        lines.append(single(row, text, f"step <= {limits[0]}; aim <= {limits[1]}", value,
                            f"(n={len(values)})", limits, why))
    return lines


def figures(table):
    lines = ["| load | layout | contender | n (dropped) | req/s | p50 µs | p99 µs |"
             " mesh CPU µs/req | all CPU µs/req | switches/req | mesh PSS MB |", "|" + "---|" * 11]
    keys = sorted({*table.good, *table.errors, *table.dropped}, key=lambda k: (k[2], k[1], k[0]))
    for key in keys:
        contender, layout, load = key
        head = f"| {load} | {layout} | {contender} |"
        if key in table.errors or key not in table.good:
            why = table.errors.get(key, "machine busy, no figure")
            lines.append(f"{head} 0 ({table.dropped.get(key, 0)}) | {why} |" + " |" * 6)
            continue
        runs = list(table.good[key].values())

        def mid(field, digits=0, scale=1.0):
            found = [r[field] * scale for r in runs if r.get(field) is not None]
            return f"{statistics.median(found):.{digits}f}" if found else ""

        lines.append(f"{head} {len(runs)} ({table.dropped.get(key, 0)}) | {mid('rate')} |"
                     f" {mid('p50_us')} | {mid('p99_us')} | {mid('cpu_mesh_us', 1)} |"
                     f" {mid('cpu_ours_us', 1)} | {mid('switches_mesh', 2)} |"
                     f" {mid('pss_kb', 1, 1 / 1024)} |")
    return lines


def one_request(records, table):
    found = [r for r in records if r["load"]["name"] == "one-request"]
    if not found:
        return []
    r = found[-1]
    lines = ["", "## One same-node HTTP/1.1 keep-alive request through orlopd", ""]
    if "error" in r:
        return [*lines, r["error"]]

    def mid(contender, field, digits=1):
        values = table.values(contender, "same", "saturated-64", field)
        if values or (contender == "direct" and "mesh" in field):
            return f"{statistics.median(values.values()):.{digits}f}" if values else "none"
        return table.why_absent(contender, "same", "saturated-64")

    calls = r["syscalls"]
    lines += ["| | direct | orlopd |", "|---|---|---|"]
    for text, field in (("requests/s, 64 connections", "rate"), ("p50 µs", "p50_us"),
                        ("p99 µs", "p99_us"), ("CPU µs/request, all processes", "cpu_ours_us"),
                        ("CPU µs/request, the mesh", "cpu_mesh_us")):
        lines.append(f"| {text} | {mid('direct', field)} | {mid('orlop', field)} |")
    lines.append("| system calls/request | |"
                 f" {calls.get('error') or format(calls['per_request'], '.3f')} |")
    allocations = r.get("allocations_per_request")
    lines.append("| heap allocations/request | |"
                 f" {r.get('allocations_error') if allocations is None else allocations} |")
    lines.append(f"| resident, idle: RSS / PSS MB | | {r['idle_rss_kb'] / 1024:.1f} /"
                 f" {r['idle_pss_kb'] / 1024:.1f} |")
    per_pod = r.get("pss_kb_per_pod")
    enrolled = f"{r['pods_enrolled']} of {r['pods_wanted']} pods enrolled"
    lines.append(f"| PSS KB per enrolled idle pod | | "
                 f"{enrolled if per_pod is None else f'{per_pod:.1f} ({enrolled})'} |")
    return lines


def charts(table, folder):
    def runs(layout, load):
        return {c: list(reps.values()) for (c, lay, name), reps in sorted(table.good.items())
                if (lay, name) == (layout, load)}

    made = {}
    for layout in ("same", "two"):
        at_rate = {c: [(us, (i + 1) / 100) for i, us in enumerate(r[0]["cdf_us"])]
                   for c, r in runs(layout, "1000/s").items()}
        made[f"latency-{layout}.svg"] = plots.lines(
            f"Latency at 1000 requests/s, {layout} node", at_rate, "µs (log)", "fraction",
            log_x=True)
        cpu = {c: {part: statistics.median(x.get(f"cpu_{part}_us", 0) for x in r)
                   for part in ("mesh", "backend", "load")}
               for c, r in runs(layout, "saturated-64").items()}
        made[f"cpu-{layout}.svg"] = plots.bars(
            f"CPU per request, saturated, {layout} node", cpu, "µs per request")
        rates = {}
        for (c, lay, name), reps in sorted(table.good.items()):
            if lay == layout and name.startswith("saturated-"):
                rate = statistics.median(r["rate"] for r in reps.values())
                rates.setdefault(c, []).append((int(name.split("-")[1]), rate))
        if any(len(points) > 1 for points in rates.values()):
            made[f"rate-{layout}.svg"] = plots.lines(
                f"Rate over connections, {layout} node", {c: sorted(p) for c, p in rates.items()},
                "connections (log)", "requests/s", log_x=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in made.items():
        if svg:
            (folder / name).write_text(svg)
    return [name for name, svg in made.items() if svg]


def noise_warning(records):
    if records[0].get("noise", "strict") == "strict":
        return []
    foreign = [r["foreign_cores"] for r in records if "foreign_cores" in r]
    most = f"{statistics.median(foreign):.2f}" if foreign else "an unknown number of"
    return [f"**Noise was accepted** (median {most} cores of foreign work): for looking, not for"
            " claiming.", ""]


def write(records, folder):
    """Writes folder/report.md and its plots; returns the Markdown."""
    if not records:
        return "no result"
    table, first = Table(records), records[0]
    lines = [f"# {first['suite']}: {first['commit']}, {first['time']}", "",
             f"{first['cores']} cores, {first['cpu']}, Linux {first['kernel']}. Layout A: load and"
             " backend on core 0, the mesh on core 1.", "",
             *noise_warning(records),
             "| # | metric | wanted | orlop | against | ratio (90 %) | |", "|---|" + "---|" * 6]
    lines += [goal_line(table, goal) for goal in GOALS]
    lines += pods(records) + big_configuration(records) + events(records)
    lines += [f"| {row} | {text} | | | | | not measured by this suite |"
              for row, text in sorted(UNMEASURED.items())]
    lines += one_request(records, table)
    lines += ["", "## Figures", ""] + figures(table)
    names = charts(table, folder)
    lines += [""] + [f"![{name}]({name})" for name in names]
    text = "\n".join(lines) + "\n"
    (folder / "report.md").write_text(text)
    return text


if __name__ == "__main__":
    source = Path(sys.argv[1])
    print(write(read(source), source.with_suffix("")))
