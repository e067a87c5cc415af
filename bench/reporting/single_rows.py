"""The rows that are measured once: memory, idle CPU, enrolment, a big configuration, events."""

import statistics

from reporting.goals import MISSING, Row


def pods(table):
    """Row 7: what the daemon and the kernel hold for enrolled, idle pods, beside sidecars.

    Of the PSS and what the machine lost in available memory, ours is the greater, theirs the
    smaller."""
    rows = []
    sidecar = table.last("pods-sidecars")
    for count, step, aim in ((100, 10, 15), (1000, 40, 60)):
        row = Row("7", f"memory of {count} enrolled pods, PSS + kernel, MB",
                  f"step <= 1/{step} of sidecars; aim <= 1/{aim}")
        rows.append(row)
        r = table.last(f"pods-{count}")
        if "pss_kb" not in r or "error" in r or "pss_kb" not in sidecar:
            row.verdict = r.get("error") or sidecar.get("error") or MISSING
            continue
        ours = max(r["pss_kb"], r["mem_available_kb"])
        theirs = min(sidecar["pss_kb"], sidecar["mem_available_kb"]) / sidecar["pods"] * count
        ratio = theirs / ours
        row.ours = f"{ours / 1024:.1f} (PSS {r['pss_kb'] / 1024:.1f})"
        row.against = f"haproxy sidecars {theirs / 1024:.0f}"
        row.ratio = f"1/{ratio:.1f}"
        row.verdict = judged(table, -ratio, (-step, -aim))
    return rows


def judged(table, value, limits):
    """Lower is better."""
    if not table.finished:
        return "unfinished run: no verdict"
    if not table.strict:
        return "noise accepted: no verdict"
    step, aim = limits
    return "aim" if value <= aim else "pass" if value <= step else "MISS"


def single(table, number, metric, value, unit, limits, why):
    """A row without a rival: limits are (step, aim), lower is better."""
    row = Row(number, metric, f"step <= {limits[0]:g} {unit}; aim <= {limits[1]:g} {unit}".rstrip())
    if value is None:
        row.verdict = why
        return row
    row.ours = f"{value:.3g} {unit}".rstrip()
    row.verdict = judged(table, value, limits)
    return row


def enrolment(table):
    """Rows 12 and 13."""
    big = table.last("pods-1000")
    one = table.last("enrol-one")
    why_big, why_one = big.get("error", MISSING), one.get("error", MISSING)

    def of(record, field):
        return None if "error" in record else record.get(field)

    return [single(table, "12", "idle CPU, 1000 pods", of(big, "idle_cpu_percent"), "% of a core",
                   (0.1, 0.02), why_big),
            single(table, "13", "enrolling a running pod, p99", of(one, "enrol_ms_p99"), "ms",
                   (10, 2), why_one),
            single(table, "13", "enrolling 1000 pods", of(big, "enrol_s"), "s", (5, 1), why_big)]


def big_configuration(table):
    """Row 11: one run, no interval."""
    r = table.last("10000-services")
    why = r.get("error", MISSING)
    slowdown = 1 / r["rate_ratio"] if r.get("rate_ratio") else None
    return [
        single(table, "11", "10,000 services, 100,000 endpoints: PSS",
               r["pss_kb"] / 1024 if "pss_kb" in r else None, "MB", (150, 32), why),
        single(table, "11", "start to first answer", r.get("ready_s"), "s", (2, 0.2), why),
        single(table, "11", "one endpoint's change in force, p50",
               r.get("update_ms", {}).get("p50"), "ms", (5, 1), why),
        single(table, "11", "requests/s with 10 services against 10,000", slowdown, "x",
               (round(1 / 0.95, 3), 1.0), why)]


def events(table):
    """Rows 14 and 15: the median of the repetitions against the run's own quiet time."""
    rows = []
    for number, metric, name, field, unit, limits in (
            ("14", "p99 at a configuration swap at 5000/s, 0 failed", "swap-5000/s", "swap_ratio",
             "x quiet", (3, 1.5)),
            ("14", "(the same before the swap)", "swap-5000/s", "unswapped_ratio", "x quiet",
             (3, 1.5)),
            ("14", "p99 above 1.5 x quiet after the swap", "swap-5000/s", "raised_ms", "ms",
             (1000, 100)),
            ("14", "(the same before the swap)", "swap-5000/s", "unswapped_raised_ms", "ms",
             (1000, 100)),
            ("15", "victim's p99 beside a neighbour, 0 errors", "victim-100/s", "victim_ratio",
             "x quiet", (2, 1.1)),
            ("15", "(the same without any mesh)", "victim-100/s", "direct_victim_ratio", "x quiet",
             (2, 1.1))):
        runs = table.single(name)
        errors = [r["error"] for r in runs if "error" in r]
        values = [r[field] for r in runs if field in r and "dropped" not in r]
        why = errors[0] if errors else "machine busy" if runs else MISSING
        value = statistics.median(values) if values and not errors else None
        row = single(table, number, metric, value, unit, limits, why)
        if value is not None:
            row.ours += f" (n={len(values)})"
        if metric.startswith("(") and value is not None:
            row.verdict = "for comparison"
        rows.append(row)
    return rows


def rows(table):
    return pods(table) + enrolment(table) + big_configuration(table) + events(table)
