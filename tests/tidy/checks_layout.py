"""Checks of the tree: include directions, third-party confinement, dead files, READMEs, limits.

A check takes a Project and yields (path, line, message).
"""

import re
from pathlib import Path

from project import CONFINED, HEAVY, ROOM_MAY_INCLUDE, room_of


def include_directions(project):
    """A room includes only the rooms its line of the table allows."""
    for path in project.cpp:
        room = room_of(path)
        if room is None:
            continue
        if room not in ROOM_MAY_INCLUDE and room != "bpf":
            yield path, 1, f"room '{room}' is not in the table of tests/tidy/project.py"
            continue
        for line, spelled, quoted in project.source(path).includes:
            if room == "bpf":
                yield from _bpf_include(path, line, spelled, quoted)
                continue
            message = _room_include(room, spelled, quoted)
            if message:
                yield path, line, message


def _bpf_include(path, line, spelled, quoted):
    if Path(path).name == "abi.h":
        if spelled not in ("linux/types.h", "stdint.h", "cstdint", "stddef.h", "cstddef"):
            yield path, line, f"bpf/abi.h may include fixed-width types only, not {spelled}"
    elif quoted and spelled.split("/")[0] in ("daemon", "mtls"):
        yield path, line, f"kernel code may not include user-space code ({spelled})"


def _room_include(room, spelled, quoted):
    target = room_of(spelled) if quoted else None
    if target is None:
        if quoted and spelled.split("/")[0] in ("tests", "bench", "deploy"):
            return f"product code may not include {spelled}"
        if quoted and "/" not in spelled:
            return f'spell the path from the repository root, not "{spelled}"'
        return None
    allowed = ROOM_MAY_INCLUDE[room] | {room}
    if target == "bpf":
        if "bpf" not in allowed:
            return f"room '{room}' may not include {spelled}: the kernel half is datapath's"
        if spelled != "bpf/abi.h" and not spelled.endswith(".skel.h"):
            return f"user space may include bpf/abi.h and skeletons, not {spelled}"
        return None
    if target not in allowed:
        names = " ".join(sorted(ROOM_MAY_INCLUDE[room])) or "std only"
        return (f"room '{room}' may not include room '{target}' (allowed: {names}); "
                "own an interface here and join it in daemon/app/wire.cc")
    return None


def third_party_confinement(project):
    """Each outside library is known to the room that wraps it, and to no other."""
    for path in project.cpp:
        room = room_of(path)
        if room is None:
            continue
        for line, spelled, quoted in project.source(path).includes:
            for pattern, name, rooms in CONFINED:
                if pattern.match(spelled) and room not in rooms:
                    owners = ", ".join(sorted(rooms))
                    yield path, line, f"{name} belongs to {owners}, not to '{room}'"


def heavy_headers(project):
    """A header that pulls a heavy library in stays inside its room."""
    heavy = {}
    for path in project.headers:
        if room_of(path) is None:
            continue
        for line, spelled, _ in project.source(path).includes:
            if HEAVY.match(spelled):
                heavy[path] = spelled
    while True:  # a header that includes such a header of its own room is heavy as well
        more = {user: heavy[header]
                for header in heavy for user, _ in project.includers.get(header, [])
                if user.endswith(".h") and user not in heavy and room_of(user) == room_of(header)}
        if not more:
            break
        heavy.update(more)
    for header, why in heavy.items():
        for user, line in project.includers.get(header, []):
            room = room_of(user)
            if room is not None and room != room_of(header):
                yield user, line, f"{header} drags {why} into room '{room}'; hide it in a .cc"


def dead_files(project):
    """A header somebody includes; a source that a glob of CMake builds."""
    for header in project.headers:
        users = [u for u, _ in project.includers.get(header, []) if u != header]
        if not users:
            yield header, 1, "nobody includes this header; use it or delete it"
    cmake = "".join(project.source(f).raw for f in project.files
                    if f.endswith(("CMakeLists.txt", ".cmake")))
    for path in project.cpp:
        if path.endswith(".h") or _is_globbed(path) or Path(path).name in cmake:
            continue
        yield path, 1, "no CMake glob or target builds this file; rename, move or delete it"


def _is_globbed(path):
    parts = path.split("/")
    if parts[0] in ("daemon", "mtls"):
        return path.endswith(".cc")
    if parts[0] == "bpf":
        return path.endswith(".bpf.c")
    if parts[:2] == ["bench", "micro"]:
        return len(parts) == 4 and path.endswith(".cc")
    if parts[0] == "tests" and len(parts) > 2:
        kind = parts[1]
        return (kind in ("unit", "sim", "bpf", "netns") and path.endswith("_test.cc")) or \
            (kind == "apps" and len(parts) == 3 and path.endswith(".cc")) or \
            (kind == "fuzz" and len(parts) == 3 and path.endswith("_fuzz.cc"))
    return False


def room_readmes(project):
    """A room's README says its job in the first line and what it may include in the second."""
    for room, folder in sorted(project.rooms.items()):
        readme = f"{folder}/README.md"
        if readme not in project.files:
            yield readme, 1, "no README.md (line 1: the room's job, line 2: its includes)"
            continue
        lines = [line for line in project.source(readme).lines if line.strip()]
        if not lines or len(lines[0].split()) < 4:
            yield readme, 1, "the first line must say the room's job in a sentence"
        if len(lines) < 2 or not re.search(r"includ", lines[1], re.I):
            yield readme, 2, "the second line must say what the room may include"
        if len(project.source(readme).raw.splitlines()) > 80:
            yield readme, 81, "a room's README is at most a page (80 lines)"


def limits_are_used(project):
    """Every bound of daemon/base/limits.h bounds something."""
    path = "daemon/base/limits.h"
    if path not in project.files:
        return
    words = set()
    for file in project.cpp:
        if file != path and room_of(file) is not None:
            words.update(re.findall(r"\w+", project.source(file).code))
    text = project.source(path).code
    for match in re.finditer(r"inline\s+constexpr\s+[\w:]+\s+(\w+)\s*=", text):
        if match.group(1) not in words:
            yield (path, project.source(path).line_of(match.start(1)),
                   f"'{match.group(1)}' bounds nothing; use it where the thing it bounds grows")


CHECKS = [include_directions, third_party_confinement, heavy_headers, dead_files, room_readmes,
          limits_are_used]
