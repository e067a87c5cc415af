#!/usr/bin/env python3
"""Checks the tree against the house rules.

    tests/tidy/run.py                  every check; exit 1 when one fails
    tests/tidy/run.py CHECK...         only these
    tests/tidy/run.py --list           names and what they hold
    tests/tidy/run.py --self-test      each check finds what its bad sample under samples/ has wrong
    tests/tidy/run.py --clang-tidy     clang-tidy 19 over build/dev (minutes, so not by default)

Each failure is `file:line: message`. The last line is `tidy: N passed, M failed`.
"""

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import checks_compile  # noqa: E402
import checks_layout  # noqa: E402
import checks_text  # noqa: E402
from project import Project  # noqa: E402

EXCEPTIONS = "tests/tidy/exceptions.txt"


def exception_list_is_empty(project):
    """The ratchet: a listed exception (`check path`) is a debt, and there is none."""
    if EXCEPTIONS not in project.files:
        return
    for number, line in enumerate(project.source(EXCEPTIONS).lines, 1):
        if line.strip() and not line.startswith("#"):
            yield EXCEPTIONS, number, f"'{line.strip()}': mend the file and drop this line"


CHECKS = [*checks_layout.CHECKS, *checks_text.CHECKS, *checks_compile.CHECKS,
          exception_list_is_empty]


def excepted(project):
    if EXCEPTIONS not in project.files:
        return set()
    lines = project.source(EXCEPTIONS).lines
    return {tuple(line.split()[:2]) for line in lines if line.strip() and not line.startswith("#")}


def run_checks(project, checks):
    failed, allowed = 0, excepted(project)
    for check in checks:
        begin = time.monotonic()
        found = [f for f in check(project) if (check.__name__, f[0]) not in allowed]
        seconds = time.monotonic() - begin
        print(f"{'FAIL' if found else 'ok  '} {check.__name__} ({seconds:.1f} s)")
        for path, line, message in sorted(found):
            print(f"    {path}:{line}: {message}")
        failed += bool(found)
    print(f"tidy: {len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


def self_test():
    """samples/<check>/ is a tiny tree; its EXPECT lists the `file:line` that must be found, and
    nothing else may be. samples/good/ must pass every check."""
    failed = 0
    for check in CHECKS:
        folder = HERE / "samples" / check.__name__
        expect = folder / "EXPECT"
        if not expect.is_file():
            print(f"FAIL {check.__name__}: no samples/{folder.name}/EXPECT proves it can fail")
            failed += 1
            continue
        wanted = {line.strip() for line in expect.read_text().split("\n") if line.strip()}
        found = {f"{path}:{line}" for path, line, _ in check(Project(folder))}
        good = list(check(Project(HERE / "samples" / "good")))
        print(f"{'ok  ' if found == wanted and not good else 'FAIL'} {check.__name__}")
        for missing in sorted(wanted - found):
            print(f"    not found: {missing}")
        for surplus in sorted(found - wanted):
            print(f"    found without reason: {surplus}")
        for path, line, message in good:
            print(f"    samples/good/{path}:{line}: {message}")
        failed += found != wanted or bool(good)
    print(f"tidy self-test: {len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checks", nargs="*")
    parser.add_argument("--root", type=Path, default=HERE.parent.parent)
    parser.add_argument("--build", type=Path, help="build folder (default: build/dev of the root)")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--clang-tidy", action="store_true")
    options = parser.parse_args()
    root = options.root.resolve()
    build = (options.build or root / "build" / "dev").resolve()
    if options.list:
        for check in CHECKS:
            print(f"{check.__name__:28} {check.__doc__}")
        return 0
    if options.self_test:
        return self_test()
    project = Project(root, build)
    if options.clang_tidy:
        def clang_tidy(tree):
            return checks_compile.clang_tidy(tree, build)
        return run_checks(project, [clang_tidy])
    unknown = set(options.checks) - {check.__name__ for check in CHECKS}
    if unknown:
        parser.error(f"no check named {', '.join(sorted(unknown))}; see --list")
    chosen = [c for c in CHECKS if not options.checks or c.__name__ in options.checks]
    return run_checks(project, chosen)


if __name__ == "__main__":
    sys.exit(main())
