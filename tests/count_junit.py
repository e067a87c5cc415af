#!/usr/bin/env python3
"""Prints `passed failed skipped` of a ctest JUnit report.

Only a case that skipped itself counts as skipped; one that could not be run counts as failed.
"""

import sys
import xml.etree.ElementTree as tree

passed = failed = skipped = 0
for case in tree.parse(sys.argv[1]).getroot().iter("testcase"):
    reason = case.find("skipped")
    if case.get("status") == "run":
        passed += 1
    elif reason is not None and (reason.get("message") or "").startswith("SKIP"):
        skipped += 1
    else:
        failed += 1
print(passed, failed, skipped)
