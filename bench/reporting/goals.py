"""The rows that compare contenders: each metric against the best pair (S), direct (D) or one."""

import statistics
from dataclasses import asdict, dataclass, replace

from reporting.table import ratio_interval

MISSING = "not measured by this suite"


@dataclass
class Row:
    """One line of the report's table."""
    number: str
    metric: str
    wanted: str
    ours: str = ""
    against: str = ""
    ratio: str = ""
    verdict: str = MISSING

    def markdown(self):
        return "| " + " | ".join(str(part) for part in asdict(self).values()) + " |"


@dataclass(frozen=True)
class Goal:
    number: str
    metric: str
    layout: str
    load: str
    value: str
    against: str  # S, D or a contender's name
    step: float | None
    aim: float | None
    against_load: str = ""  # when it is not the same
    ours: str = "orlop"

    @property
    def higher_is_better(self):
        return self.value in ("rate", "handshakes_per_core")


ONE = "one-connection-one-core"
FLOOR_ROWS = ("1", "2", "3", "4", "5", "6")
GOALS = [
    Goal("1", "same-node L7 requests/s", "same", "saturated-64", "rate", "S", 1.6, 2.5),
    Goal("1", "same-node L7 requests/s", "same", "saturated-64", "rate", "hop-haproxy", 1.0, None),
    Goal("1", "same-node L7 requests/s", "same", "saturated-64", "rate", "D", None, 1.5),
    Goal("2", "two-node mTLS L7 requests/s", "two", "saturated-64", "rate", "S", 1.25, 1.8),
    Goal("3", "saturated mesh CPU µs per request", "same", "saturated-64", "cpu_mesh_us", "S", 0.6,
         0.3),
    Goal("3", "saturated mesh CPU µs per request", "two", "saturated-64", "cpu_mesh_us", "S", 0.8,
         0.5),
    Goal("4", "mesh CPU µs per request at 1000/s", "same", "1000/s", "cpu_mesh_us", "S", 0.5, 0.25),
    Goal("4", "mesh CPU µs per request at 1000/s", "two", "1000/s", "cpu_mesh_us", "S", 0.5, 0.25),
    *[Goal("5", f"added {q} µs at {rate}", layout, rate, f"added_{q}_us", "S", *limits)
      for layout in ("same", "two") for rate in ("1000/s", "8000/s")
      for q, limits in (("p50", (0.5, 0.3)), ("p99", (0.6, 0.4)))],
    Goal("6", "one core, one connection, p50 µs", "same", ONE, "p50_us", "D", 2.0, 1.3),
    Goal("6", "one core, one connection, p50 µs", "two", ONE, "p50_us", "S", 0.9, 0.65),
    Goal("8", "full mTLS handshakes/s per core, both ends", "two", "handshakes-full",
         "handshakes_per_core", "S", 1.4, 2.5),
    Goal("8", "resumed mTLS handshakes/s per core, both ends", "two", "handshakes-resumed",
         "handshakes_per_core", "S", 1.6, 4.0),
    Goal("9", "new connections/s, warm", "two", "connection-per-request", "rate", "D", 0.8, 1.0),
    Goal("9", "new connection with a full handshake, p50 µs", "two", "cold-connection-full",
         "p50_us", "S", 0.6, 0.35),
    Goal("10", "bulk, 8 MB answers/s", "same", "bulk-8MB", "rate", "D", 0.45, 0.9),
    Goal("10", "bulk, 8 MB answers/s", "two", "bulk-8MB", "rate", "S", 1.5, 2.5),
    *[Goal("16", "HTTP/2, 100 streams on one connection, requests/s", layout, "http2-100-streams",
           "rate", "orlop", 1.0, None, "http1-100-connections") for layout in ("same", "two")],
    *[Goal("16", "HTTP/2, 100 streams on one connection, requests/s", layout, "http2-100-streams",
           "rate", "S", None, 1.0) for layout in ("same", "two")],
]


def verdict(goal, interval, table):
    if not table.finished:
        return "unfinished run: no verdict"
    if not table.strict:
        return "noise accepted: no verdict"
    worse = interval[1] if goal.higher_is_better else interval[2]

    def passes(limit):
        return worse >= limit if goal.higher_is_better else worse <= limit

    if goal.aim is not None and passes(goal.aim):
        return "aim"
    if goal.step is None:
        return "below the aim"
    return "pass" if passes(goal.step) else "MISS"


def goal_row(table, goal):
    sign = ">=" if goal.higher_is_better else "<="
    name = f"{goal.against}'s {goal.against_load}" if goal.against_load else goal.against
    limits = (("step", goal.step), ("aim", goal.aim))
    row = Row(goal.number, f"{goal.metric}, {goal.layout}",
              "; ".join(f"{what} {sign} {limit} x {name}" for what, limit in limits if limit))
    load = goal.against_load or goal.load
    choose = max if goal.higher_is_better else min
    rival, missing = goal.against, {}
    if goal.against == "S":
        rival = table.best_pair(goal.layout, load, goal.value, choose)
        missing = table.rivals(goal.layout, load)[1]
    elif goal.against == "D":
        rival = "direct"
    ours = table.values(goal.ours, goal.layout, goal.load, goal.value)
    theirs = table.values(rival, goal.layout, load, goal.value) if rival else {}
    interval = ratio_interval(ours, theirs)
    if interval is None or missing:
        row.verdict = why_no_figure(table, goal, ours, rival, missing)
        return row
    ratio, low, high, n = interval
    row.ours = f"{statistics.median(ours.values()):.1f}"
    row.against = f"{rival} {statistics.median(theirs.values()):.1f}"
    row.ratio = f"{ratio:.2f} ({low:.2f} to {high:.2f}, n={n})"
    row.verdict = verdict(goal, interval, table)
    return row


def floor_row(table, goal):
    """What bare forwarders reach in the same row: how far a hop alone is from the goal. None when
    there is nothing to say: the goal knows no floor, or the run measured none."""
    if goal.number not in FLOOR_ROWS or goal.step is None or goal.against not in ("S", "D"):
        return None
    choose = max if goal.higher_is_better else min
    floor = table.best("floor-", goal.layout, goal.load, goal.value, choose)
    row = goal_row(table, replace(goal, ours=floor)) if floor else None
    if row is None or not row.ratio:
        return None
    row.metric = f"({floor} in its place: {goal.metric}, {goal.layout})"
    row.verdict = "for comparison"
    return row


def why_no_figure(table, goal, ours, rival, missing):
    if not ours:
        return table.why_absent("orlop", goal.layout, goal.load)
    if missing:
        return "no figure: " + "; ".join(f"{name}: {why}" for name, why in sorted(missing.items()))
    if rival is None:
        return "no figure: no pair in this run"
    if table.values(rival, goal.layout, goal.against_load or goal.load, goal.value):
        return f"no figure: {rival} added nothing to direct in any repetition"
    return f"no figure: {rival}: " + table.why_absent(rival, goal.layout,
                                                      goal.against_load or goal.load)
