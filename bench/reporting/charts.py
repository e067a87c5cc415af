"""The SVG plots of a report."""

import statistics

import plots


def stacked(runs):
    """CPU of one request by where it goes: the mesh's own code, the kernel for it, the rest."""
    def mid(field):
        return statistics.median(r.get(field, 0) for r in runs)

    mesh, user = mid("cpu_mesh_us"), mid("cpu_mesh_user_share")
    return {"mesh, own code": mesh * user, "mesh, kernel": mesh * (1 - user),
            "backend": mid("cpu_backend_us"), "load": mid("cpu_load_us")}


def memory_chart(table):
    ours = [(r["pods"], r["pss_kb"] / 1024) for r in table.single("pods-")
            if r["contender"] == "orlop" and "pss_kb" in r and "error" not in r]
    sidecars = table.last("pods-sidecars")
    if len(ours) < 2 or "pss_kb" not in sidecars:
        return ""
    each = sidecars["pss_kb"] / 1024 / sidecars["pods"]
    rivals = [(count, each * count) for count, _ in sorted(ours)]
    return plots.lines("Memory over enrolled, idle pods (PSS; sidecars from measured "
                       f"{sidecars['pods']})",
                       {"orlopd": sorted(ours), "haproxy sidecars": rivals}, "pods (log)",
                       "MB (log)", log_x=True, log_y=True)


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
        cpu = {c: stacked(r) for c, r in runs(layout, "saturated-64").items()}
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
    made["memory.svg"] = memory_chart(table)
    for name, svg in made.items():
        if svg:
            (folder / name).write_text(svg)
    return [name for name, svg in made.items() if svg]
