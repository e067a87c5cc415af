"""Checks that ask the compiler: headers compile alone, the ABI header has one layout, the format.

Results are cached by the content of a header and of everything of ours it includes, so an
unchanged tree costs nothing. The cache is a file of the build folder and safe to delete.
"""

import hashlib
import json
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from project import room_of

CLANG, CLANGXX, CLANG_FORMAT = "clang-19", "clang++-19", "clang-format-19"
PARALLEL = 2
COMPILE_SECONDS_MAX = 120
CXX_FLAGS = ["-std=c++23", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused-parameter",
             "-Wno-unused-const-variable", "-Wno-pragma-once-outside-header"]


def _run(project, command, text):
    """In the tree's root: a quoted include of standard input looks in the current folder first."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=project.root,
                          timeout=COMPILE_SECONDS_MAX, check=False)
    return done.returncode, done.stdout, done.stderr


class Cache:
    def __init__(self, build):
        self.file = build / "tidy-cache.json" if build else None
        self.good = set()
        if self.file and self.file.is_file():
            try:
                self.good = set(json.loads(self.file.read_text()))
            except (OSError, ValueError):
                self.good = set()

    def save(self, keys):
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(json.dumps(sorted(keys)))


def _closure_hash(project, header):
    seen, waiting, digest = set(), [header], hashlib.sha256(" ".join(CXX_FLAGS).encode())
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for _, spelled, _ in project.source(path).includes:
            for candidate in (spelled, str(Path(path).parent / spelled)):
                if (project.root / candidate).is_file():
                    waiting.append(str(Path(candidate)))
                    break
    for path in sorted(seen):
        digest.update(path.encode() + b"\0" + project.source(path).raw.encode())
    return digest.hexdigest()


def headers_compile_alone(project):
    """Every user-space header includes what it needs."""
    cache = Cache(project.build)
    headers = [h for h in project.headers if room_of(h) != "bpf"]
    keys = {h: _closure_hash(project, h) for h in headers}
    includes = ["-I", str(project.root)]
    if project.build:
        includes += ["-I", str(project.build / "generated")]

    def compile_one(header):
        command = [CLANGXX, *CXX_FLAGS, *includes, "-include", header, "-x", "c++", "-"]
        code, _, errors = _run(project, command, "\n")
        return header, code, errors

    good = {keys[h] for h in headers if keys[h] in cache.good}
    stale = [h for h in headers if keys[h] not in cache.good]
    with ThreadPoolExecutor(PARALLEL) as pool:
        for header, code, errors in pool.map(compile_one, stale):
            if code == 0:
                good.add(keys[header])
                continue
            first = re.search(r"^(\S+?):(\d+):\d+: (?:fatal )?error: (.*)$", errors, re.M)
            line = int(first.group(2)) if first and header in first.group(1) else 1
            reason = first.group(3) if first else errors.strip()[:200]
            yield header, line, f"does not compile alone: {reason}"
    cache.save(good)


ABI = "bpf/abi.h"
ABI_SIDES = {
    "bpf": [CLANG, "-target", "bpf", "-std=gnu11", "-x", "c"],
    "host": [CLANGXX, "-std=c++23", "-x", "c++"],
}


def _layouts(project, flags):
    """{struct: [(offset, member) ..., size]} as the compiler lays them out."""
    command = [*flags, "-fsyntax-only", "-Xclang", "-fdump-record-layouts-complete",
               "-I", str(project.root), "-I", "/usr/include/x86_64-linux-gnu", "-"]
    code, out, errors = _run(project, command, f'#include "{ABI}"\n')
    if code != 0:
        return None, errors.strip().split("\n")[0]
    layouts, name = {}, None
    for line in out.split("\n"):
        head = re.match(r"\s*0 \| (?:struct|union|class) ([\w:]+)(?: \(.*\))?$", line)
        if head and line.index("|") <= 12 and name is None:
            name = head.group(1).split("::")[-1]
            layouts[name] = []
        elif "[sizeof=" in line and name:
            size = re.search(r"sizeof=(\d+)", line).group(1)
            align = re.search(r"\balign=(\d+)", line).group(1)
            layouts[name].append(("size", size, align))
            name = None
        elif name and "|" in line:
            offset, _, member = line.partition("|")
            spelled = re.sub(r"\b(struct|union|enum|class) |\w+::", "", member).split()
            layouts[name].append((offset.strip(), spelled[-1] if spelled else ""))
    return layouts, None


def abi_layout(project):
    """bpf/abi.h means the same bytes to kernel and daemon, with no hidden padding."""
    if ABI not in project.files:
        return
    sides = {}
    for side, flags in ABI_SIDES.items():
        sides[side], error = _layouts(project, flags)
        if error:
            yield ABI, 1, f"does not compile for {side}: {error}"
            return
    source = project.source(ABI)
    for match in re.finditer(r"\b(?:struct|union)\s+(\w+)\s*\{", source.code):
        name, line = match.group(1), source.line_of(match.start())
        kernel, host = sides["bpf"].get(name), sides["host"].get(name)
        if kernel is None or host is None:
            yield ABI, line, f"'{name}' has no layout on {'bpf' if kernel is None else 'host'}"
        elif kernel != host:
            odd = next((pair for pair in zip(kernel, host) if pair[0] != pair[1]),
                       (kernel[-1], host[-1]))
            yield ABI, line, f"'{name}' differs: bpf has {odd[0]}, the host has {odd[1]}"
    command = [*ABI_SIDES["bpf"], "-fsyntax-only", "-Xclang",
               "-fdump-record-layouts-complete", "-Wpadded", "-I", str(project.root),
               "-I", "/usr/include/x86_64-linux-gnu", "-"]
    _, _, errors = _run(project, command, f'#include "{ABI}"\n')
    for match in re.finditer(r"bpf/abi\.h:(\d+):\d+: warning: (.*) \[-Wpadded\]", errors):
        yield ABI, int(match.group(1)), f"{match.group(2)}; name the padding"


def format_is_clang_format(project):
    """clang-format-19 with the tree's .clang-format changes nothing."""
    files = [f for f in project.cpp]
    if not files or not (project.root / ".clang-format").is_file():
        return
    chunks = [files[i::PARALLEL * 4] for i in range(PARALLEL * 4)]

    def check(chunk):
        if not chunk:
            return ""
        done = subprocess.run([CLANG_FORMAT, "--dry-run", "--ferror-limit=1", *chunk],
                              cwd=project.root, capture_output=True, text=True, check=False,
                              timeout=COMPILE_SECONDS_MAX)
        return done.stderr

    with ThreadPoolExecutor(PARALLEL) as pool:
        seen = set()
        for errors in pool.map(check, chunks):
            for match in re.finditer(r"^(\S+?):(\d+):\d+: (?:warning|error): ", errors, re.M):
                if match.group(1) not in seen:
                    seen.add(match.group(1))
                    yield match.group(1), int(match.group(2)), \
                        f"not formatted; run: {CLANG_FORMAT} -i {match.group(1)}"


CLANG_TIDY = "run-clang-tidy-19"


def clang_tidy(project, build):
    """The opt-in stage: clang-tidy 19 over the compilation database of a build."""
    if not (build / "compile_commands.json").is_file():
        yield "CMakePresets.json", 1, f"no compile_commands.json in {build}; build preset dev first"
        return
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        with log.open("w") as out:
            subprocess.run([CLANG_TIDY, "-quiet", "-p", str(build), "-j", str(PARALLEL),
                            f"^{re.escape(str(project.root))}/(daemon|mtls)/"],
                           stdout=out, stderr=subprocess.DEVNULL, check=False)
        text = log.read_text(errors="replace")
    seen = set()
    for match in re.finditer(r"^(\S+?):(\d+):\d+: error: (.*)$", text, re.M):
        path = match.group(1).replace(str(project.root) + "/", "")
        if (path, match.group(2), match.group(3)) not in seen:
            seen.add((path, match.group(2), match.group(3)))
            yield path, int(match.group(2)), match.group(3)


CHECKS = [headers_compile_alone, abi_layout, format_is_clang_format]
