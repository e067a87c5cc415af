"""Entry of bench/run.sh: builds the topology, runs a suite, reports, removes everything."""

import argparse
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import report  # noqa: E402
from reporting.table import broken, read  # noqa: E402
import suites  # noqa: E402
from certificates import make_certificates  # noqa: E402
from measure import Bench, Noise  # noqa: E402
from topology import RUN, BenchError, Topology  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("suite", choices=sorted(suites.SUITES))
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--accept-noise", action="store_true",
                        help="keep figures of a busy machine (they are marked)")
    options = parser.parse_args()
    suite, seconds, warmup, noise = suites.SUITES[options.suite]
    noise = Noise.accepted if options.accept_noise else noise
    root = HERE.parent.parent
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    kept = options.suite != "smoke" and not options.accept_noise
    folder = root / "bench" / "results" / ("" if kept else "tmp")
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / f"{options.suite}-{stamp}.jsonl"
    bench = Bench(options.binaries, results, noise, seconds, warmup, options.suite)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))

    topology = Topology()
    try:
        topology.up()
        session = suites.Session(topology, make_certificates(RUN / "certs"), root, bench)
        session.start_mesh()
        session.start_backends()
        suite(session)
        bench.finish()
        if session.mesh:
            for node in ("a", "b"):
                session.mesh.stop(node)
            session.mesh.uninstall()
    except BenchError as error:
        sys.exit(f"bench: {error}")
    finally:
        topology.down()
    if not results.exists():
        return  # a suite that wrote files of its own
    records = read(results)
    print()
    print(report.write(records, results.with_suffix("")))
    wrong = broken(records)
    if wrong:
        sys.exit("bench: gave wrong answers or no result: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
