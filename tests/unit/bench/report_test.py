"""The benchmark's report claims nothing that the records do not carry."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))

import report  # noqa: E402
from reporting import single_rows  # noqa: E402
from reporting.goals import Goal, goal_row  # noqa: E402
from reporting.table import Table, broken  # noqa: E402

GOAL = Goal("2", "requests/s", "two", "load", "rate", "S", 1.25, 1.8)
IDENTITY = {"suite": "full", "noise": "strict", "commit": "c", "time": "t", "kernel": "k",
            "cpu": "cpu", "cores": 2}
FINISHED = {**IDENTITY, "contender": "", "layout": "", "load": {"name": "finished"}}


def run(contender, rate, repetition=0, **more):
    return {**IDENTITY, "contender": contender, "layout": "two", "load": {"name": "load"},
            "repetition": repetition, "rate": rate, "p50_us": 100, "p99_us": 200,
            "cdf_us": list(range(1, 100)), **more}


def failed(contender, error):
    return {**IDENTITY, "contender": contender, "layout": "two", "load": {"name": "load"},
            "repetition": 0, "error": error}


def row(*records, goal=GOAL):
    return goal_row(Table([*records, FINISHED]), goal)


class Report(unittest.TestCase):
    def test_a_goal_passes_by_the_worse_end_of_its_interval(self):
        for rates, verdict in (((130, 131, 132), "pass"), ((190, 200, 210), "aim"),
                               ((90, 130, 170), "MISS"), ((100, 101, 102), "MISS")):
            records = [run("orlop", rate, i) for i, rate in enumerate(rates)]
            records += [run("pair-mtls-a", 100, i) for i in range(3)]
            self.assertEqual(row(*records).verdict, verdict, rates)

    def test_lower_is_better_where_it_is(self):
        goal = Goal("9", "p50", "two", "load", "p50_us", "S", 0.6, 0.35)
        for p50, verdict in ((30, "aim"), (50, "pass"), (70, "MISS")):
            made = row(run("orlop", 1, p50_us=p50), run("pair-mtls-a", 1), goal=goal)
            self.assertEqual(made.verdict, verdict)

    def test_s_is_the_best_pair_and_plaintext_does_not_count_between_nodes(self):
        made = row(run("orlop", 200), run("pair-mtls-a", 100), run("pair-mtls-b", 120),
                   run("pair-plain-c", 500))
        self.assertTrue(made.against.startswith("pair-mtls-b"), made)

    def test_a_pair_that_is_missing_or_wrong_leaves_no_figure(self):
        for why in ("no binary 'nginx'", "reply is not a 200: HTTP/1.1 503"):
            made = row(run("orlop", 200), run("pair-mtls-a", 100), failed("pair-mtls-b", why))
            self.assertEqual(made.ratio, "")
            self.assertIn(why, made.verdict)

    def test_one_wrong_answer_voids_the_other_repetitions(self):
        made = row(run("orlop", 200), failed("orlop", "more bytes than the reply has"),
                   run("pair-mtls-a", 100))
        self.assertEqual((made.ratio, made.verdict), ("", "more bytes than the reply has"))

    def test_an_empty_slot_is_no_missing_pair(self):
        records = [run("orlop", 200), run("pair-mtls-a", 100), failed("envoy", "no binary 'envoy'")]
        self.assertEqual(row(*records).verdict, "aim")
        self.assertEqual(broken(records), [])

    def test_a_busy_machine_is_named(self):
        made = row(run("orlop", 200, dropped="0.50 cores of foreign work"), run("pair-mtls-a", 1))
        self.assertEqual((made.ratio, made.verdict), ("", "machine busy"))

    def test_runs_of_different_repetitions_are_never_divided(self):
        made = row(run("orlop", 200, 0), run("pair-mtls-a", 100, 1))
        self.assertEqual(made.ratio, "")

    def test_no_verdict_on_an_unfinished_or_a_noisy_run(self):
        records = [run("orlop", 200), run("pair-mtls-a", 100)]
        self.assertIn("unfinished", goal_row(Table(records), GOAL).verdict)
        noisy = [r | {"noise": "accepted"} for r in [*records, FINISHED]]
        self.assertIn("noise accepted", goal_row(Table(noisy), GOAL).verdict)

    def test_a_report_says_what_has_no_figure_and_what_was_not_measured(self):
        with tempfile.TemporaryDirectory() as folder:
            text = report.write([run("orlop", 200), failed("pair-mtls-a", "no binary 'nginx'"),
                                 FINISHED], Path(folder) / "r")
            self.assertIn("- pair-mtls-a/two load: no binary 'nginx'", text)
            self.assertIn("Rows that this suite does not measure: 1, 2, 3,", text)
            self.assertTrue((Path(folder) / "r" / "summary.json").is_file())

    def test_memory_of_a_hundred_pods_is_not_that_of_a_thousand(self):
        def held(contender, name, pods, kb):
            return {**IDENTITY, "contender": contender, "layout": "same", "load": {"name": name},
                    "pods": pods, "pss_kb": kb, "mem_available_kb": kb}

        table = Table([held("sidecar-haproxy", "pods-sidecars", 100, 400_000),
                       held("orlop", "pods-100", 100, 20_000),
                       held("orlop", "pods-1000", 1000, 100_000), FINISHED])
        found = [(r.ratio, r.verdict) for r in single_rows.pods(table)]
        self.assertEqual(found, [("1/20.0", "aim"), ("1/40.0", "pass")])

    def test_the_readme_gets_the_table_between_its_marks_and_keeps_the_rest(self):
        records = [run("orlop", 200), run("pair-mtls-a", 100), FINISHED]
        table = Table(records)
        part = report.readme_part(table, [goal_row(table, GOAL)], records[0], report.ROOT / "none")
        text = report.put_into_readme(f"a\n{report.BEGIN}\nold\n{report.END}\nb\n", part)
        self.assertIn("| 2 | requests/s, two | step >= 1.25 x S; aim >= 1.8 x S | 200.0 |", text)
        self.assertNotIn("old", text)
        self.assertTrue(text.startswith("a\n") and text.endswith(f"{report.END}\nb\n"))
        self.assertIn(report.BEGIN, (report.ROOT / "README.md").read_text())


if __name__ == "__main__":
    unittest.main()
