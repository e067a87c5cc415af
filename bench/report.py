#!/usr/bin/env python3
"""Turns a results file into a Markdown report, a summary and SVG plots.

    bench/report.py bench/results/full-....jsonl
    bench/report.py bench/results/full-....jsonl --readme   # and puts the table into README.md

Only runs of the same file are compared. A ratio is the median of the ratios inside each
repetition, with a bootstrap 90 % interval; a goal passes only if the worse end of its interval
passes. Runs with a wrong answer give no figure, runs on a busy machine are dropped and counted.
"""

import json
import statistics
import sys
from pathlib import Path

from reporting import single_rows
from reporting.charts import charts
from reporting.goals import GOALS, MISSING, Row, floor_row, goal_row
from reporting.table import Table, broken, read


ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- last full run: begin -->", "<!-- last full run: end -->"


def rows_of(table):
    """Every row of the table of goals, by number."""
    rows = [row for goal in GOALS for row in (goal_row(table, goal), floor_row(table, goal)) if row]
    rows += single_rows.rows(table)
    return sorted(rows, key=lambda row: int(row.number))


def figures(table):
    lines = ["| load | layout | contender | n (dropped) | req/s | p50 µs | p99 µs |"
             " mesh CPU µs/req | all CPU µs/req | switches/req | mesh PSS MB | handshakes/s/core |",
             "|" + "---|" * 12]
    keys = sorted({*table.good, *table.errors, *table.dropped}, key=lambda k: (k[2], k[1], k[0]))
    for key in keys:
        contender, layout, load = key
        head = f"| {load} | {layout} | {contender} |"
        if key in table.errors or key not in table.good:
            why = table.errors.get(key, "machine busy, no figure")
            lines.append(f"{head} 0 ({table.dropped.get(key, 0)}) | {why} |" + " |" * 7)
            continue
        runs = list(table.good[key].values())

        def mid(field, digits=0, scale=1.0):
            found = [r[field] * scale for r in runs if r.get(field) is not None]
            return f"{statistics.median(found):.{digits}f}" if found else ""

        lines.append(f"{head} {len(runs)} ({table.dropped.get(key, 0)}) | {mid('rate')} |"
                     f" {mid('p50_us')} | {mid('p99_us')} | {mid('cpu_mesh_us', 1)} |"
                     f" {mid('cpu_ours_us', 1)} | {mid('switches_mesh', 2)} |"
                     f" {mid('pss_kb', 1, 1 / 1024)} | {mid('handshakes_per_core')} |")
    return lines


def one_request(table):
    found = table.single("one-request")
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


def cross_checks(table):
    found = table.single("cross-check-")
    if not found:
        return []
    lines = ["", "## Is the generator right?", "",
             "| load | bench-load/s | other tool/s | ratio | within 10 % |",
             "|---|---|---|---|---|"]
    for r in found:
        name = r["load"]["name"].removeprefix("cross-check-")
        if "error" in r:
            lines.append(f"| {name} | | {r['contender']} | | {r['error']} |")
            continue
        lines.append(f"| {name} | {r['rate']:.0f} | {r['contender']} {r['rate_of_tool']:.0f} |"
                     f" {r['ratio']:.3f} | {'yes' if r['within_10_percent'] else '**no**'} |")
    return lines


def warnings(table):
    lines = []
    if not table.finished:
        lines += ["**The run did not finish**: figures below are what there was, without"
                  " verdicts.", ""]
    if not table.strict:
        foreign = [r["foreign_cores"] for r in table.records if "foreign_cores" in r]
        most = f"{statistics.median(foreign):.2f}" if foreign else "an unknown number of"
        lines += [f"**Noise was accepted** (median {most} cores of foreign work): for looking, not"
                  " for claiming.", ""]
    wrong = broken(table.records)
    if wrong:
        lines += ["**No figure**, for a wrong answer, a missing program or a broken step:", ""]
        lines += [f"- {line}" for line in wrong] + [""]
    return lines


def write(records, folder):
    """Writes report.md, summary.json and plots into the folder; returns the Markdown."""
    if not records:
        return "no result"
    table, first = Table(records), records[0]
    rows = [row for row in rows_of(table) if row.verdict != MISSING]
    left_out = sorted({int(row.number) for row in rows_of(table)} -
                      {int(row.number) for row in rows})
    lines = [f"# {first['suite']}: {first['commit']}, {first['time']}", "",
             f"{first['cores']} cores, {first['cpu']}, Linux {first['kernel']}, configuration"
             f" {first.get('configuration', 'unknown')}. Load and backend on core 0, the mesh on"
             " core 1.", "",
             *warnings(table),
             "| # | metric | wanted | orlop | against | ratio (90 %) | |", "|---|" + "---|" * 6]
    lines += [row.markdown() for row in rows]
    if left_out:
        lines += ["", "Rows that this suite does not measure: " + ", ".join(map(str, left_out)) +
                  "."]
    lines += one_request(table) + cross_checks(table)
    lines += ["", "## Figures", ""] + figures(table)
    folder.mkdir(parents=True, exist_ok=True)
    names = charts(table, folder)
    lines += [""] + [f"![{name}]({name})" for name in names]
    text = "\n".join(lines) + "\n"
    (folder / "report.md").write_text(text)
    (folder / "summary.json").write_text(json.dumps(summary(table, rows, first)) + "\n")
    return text


def summary(table, rows, first):
    """One line that says the whole run: what it was, every row, medians of every measurement."""
    fields = ("rate", "p50_us", "p99_us", "cpu_mesh_us", "pss_kb", "handshakes_per_core")
    medians = {}
    for (contender, layout, load), runs in sorted(table.good.items()):
        found = {field: [r[field] for r in runs.values() if r.get(field) is not None]
                 for field in fields}
        medians[f"{contender}/{layout}/{load}"] = {
            field: round(statistics.median(values), 2) for field, values in found.items() if values}
    about = ("suite", "time", "commit", "kernel", "cpu", "cores", "configuration", "noise")
    return {**{key: first.get(key) for key in about}, "finished": table.finished,
            "rows": [vars(row) for row in rows], "medians": medians}


def readme_part(table, rows, first, folder):
    """What README.md shows of a run: its table, misses included, and one plot."""
    lines = [f"Commit {first['commit']}, {first['time'][:10]}, {first['cores']} cores of"
             f" {first['cpu']}, Linux {first['kernel']}; S is the best sidecar pair of the same"
             " run. Made again by `sudo bench/run.sh full`.", "",
             "| # | metric | wanted | orlop | against | ratio (90 %) | |", "|---|" + "---|" * 6]
    lines += [row.markdown() for row in rows if row.verdict != MISSING]
    plots = [name for name in ("cpu-same.svg", "latency-same.svg") if (folder / name).is_file()]
    lines += [""] + [f"![CPU of one request]({folder.relative_to(ROOT)}/{name})"
                     for name in plots[:1]]
    return "\n".join([*warnings(table), *lines])


def put_into_readme(text, part):
    before, rest = text.split(BEGIN, 1)
    return before + BEGIN + "\n" + part + "\n" + END + rest.split(END, 1)[1]


def main():
    source = Path(sys.argv[1]).resolve()
    records, folder = read(source), source.with_suffix("")
    print(write(records, folder))
    if "--readme" in sys.argv[2:]:
        table, readme = Table(records), ROOT / "README.md"
        part = readme_part(table, rows_of(table), records[0], folder)
        readme.write_text(put_into_readme(readme.read_text(), part))


if __name__ == "__main__":
    main()
