"""The tree under check: which files exist, which room each belongs to, what a room may include.

The table is the project's own (house style: one folder is one room); a change of direction is a
change of this file, in the open.
"""

import re
from functools import cached_property
from pathlib import Path

from source import Source

ROOM_MAY_INCLUDE = {
    "base": set(),
    "model": {"base"},
    "codec": {"base"},
    "runtime": {"base"},
    "mtls": {"base"},
    "telemetry": {"base"},
    "decide": {"base", "model"},
    "net": {"base", "runtime", "mtls"},
    "control": {"base", "model", "codec", "net", "runtime"},
    "datapath": {"base", "model", "runtime", "telemetry", "bpf"},
    "proxy": {"base", "model", "decide", "codec", "net", "runtime", "telemetry"},
    "admin": {"base", "model", "codec", "net", "runtime", "telemetry"},
    "lab": {"base", "model", "control"},
    "app": {"base", "model", "codec", "runtime", "mtls", "telemetry", "decide", "net", "control",
            "datapath", "proxy", "admin", "lab", "bpf"},
}

# Third-party headers and the rooms that may know them. tests and bench may include anything.
CONFINED = [
    (re.compile(r"^openssl/"), "OpenSSL", {"mtls"}),
    (re.compile(r"^liburing"), "liburing", {"runtime"}),
    (re.compile(r"^linux/io_uring\.h$"), "io_uring", {"runtime"}),
    (re.compile(r"^bpf/(bpf|btf|libbpf|bpf_.*)\.h$"), "libbpf", {"datapath", "bpf"}),
    (re.compile(r"^yaml-cpp/"), "yaml-cpp", {"control", "lab"}),
    (re.compile(r"^nghttp2/"), "nghttp2", {"codec"}),
    (re.compile(r"^CLI/"), "CLI11", {"app"}),
    (re.compile(r"^ares\.h$"), "c-ares", {"app"}),
    (re.compile(r"^re2/"), "RE2", {"base"}),
    (re.compile(r"^nlohmann/"), "nlohmann-json", {"control", "lab", "app"}),
]

# Headers so slow to compile that a .h which includes one may be included by its own room only.
HEAVY = re.compile(r"^(openssl/|yaml-cpp/|CLI/|nlohmann/|re2/|regex$|iostream$)")

SKIPPED_FOLDERS = {"build", ".git", "__pycache__", "samples", "corpus", "results", "tutorials"}
CPP = (".h", ".cc", ".c")
TEXT = CPP + (".py", ".sh", ".cmake", ".md", ".txt", ".yaml", ".yml", ".json", ".cfg", ".conf", "")
ROOT_FILES = {"CMakeLists.txt", "CMakePresets.json", "README.md", "ARCHITECTURE.md",
              "CHANGELOG.md", ".clang-format", ".clang-tidy"}
FOLDERS = (".ci", "bpf", "daemon", "mtls", "deploy", "tests", "bench", "cmake")


def room_of(path):
    """The room of a file, 'bpf', or None for tests, bench and the rest."""
    parts = path.split("/")
    if parts[0] == "daemon" and len(parts) > 2:
        return parts[1]
    return parts[0] if parts[0] in ("mtls", "bpf") and len(parts) > 1 else None


class Project:
    def __init__(self, root: Path, build: Path | None = None):
        self.root = root
        self.build = build
        self._sources = {}

    @cached_property
    def files(self):
        found = [name for name in ROOT_FILES if (self.root / name).is_file()]
        for folder in FOLDERS:
            base = self.root / folder
            if not base.is_dir():
                continue
            for path in sorted(base.rglob("*")):
                relative = path.relative_to(self.root)
                if path.is_file() and not SKIPPED_FOLDERS & set(relative.parts[:-1]):
                    found.append(str(relative))
        return found

    @cached_property
    def cpp(self):
        return [f for f in self.files if f.endswith(CPP)]

    @cached_property
    def headers(self):
        return [f for f in self.cpp if f.endswith(".h")]

    @cached_property
    def texts(self):
        return [f for f in self.files if Path(f).suffix in TEXT]

    @cached_property
    def rooms(self):
        """Rooms that hold code, by name, with their folder."""
        found = {}
        for path in self.cpp:
            room = room_of(path)
            if room:
                found[room] = room if room in ("mtls", "bpf") else f"daemon/{room}"
        return found

    def source(self, path):
        if path not in self._sources:
            self._sources[path] = Source(self.root, path)
        return self._sources[path]

    def resolve(self, spelled):
        """The repository path an include names, or None when it is not ours."""
        return spelled if (self.root / spelled).is_file() else None

    @cached_property
    def includers(self):
        """header path -> [(path, line)]"""
        found = {}
        for path in self.cpp:
            for line, spelled, _ in self.source(path).includes:
                target = self.resolve(spelled)
                beside = str(Path(path).parent / spelled)
                if target is None and (self.root / beside).is_file():
                    target = beside
                if target:
                    found.setdefault(target, []).append((path, line))
        return found
