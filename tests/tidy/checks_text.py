"""Checks of the text: sizes, banned words and calls, bool parameters, coroutine lambdas."""

import re
from pathlib import Path

from project import CPP, room_of

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
LINE_COLUMNS_MAX = 100
NESTING_MAX = 4
PAGE_LINES_MAX = {"ARCHITECTURE.md": 160}

CONTROL_KINDS = ("control", "lambda")


def file_length(project):
    """A file fits in a head: 600 lines."""
    for path in project.texts:
        prose = path.endswith((".md", ".json", ".yaml", ".yml", ".txt"))
        if prose and path not in PAGE_LINES_MAX:
            continue
        limit = PAGE_LINES_MAX.get(path, FILE_LINES_MAX)
        count = project.source(path).line_count
        if count > limit:
            yield path, count, f"{count} lines, the cap is {limit}; split by noun"


def function_length(project):
    """A function fits on a screen: 70 lines."""
    for path in project.cpp:
        source = project.source(path)
        for block in source.functions():
            first, last = source.line_of(block.begin), source.line_of(block.end)
            if last - first + 1 > FUNCTION_LINES_MAX:
                yield path, first, (f"function of {last - first + 1} lines, the cap is "
                                    f"{FUNCTION_LINES_MAX}; move the leaves out")


def nesting(project):
    """Blocks nest at most four deep inside a function."""
    for path in project.cpp:
        source = project.source(path)
        for function in source.functions():
            deep = _first_too_deep(function, 0)
            if deep:
                yield (path, source.line_of(deep.brace),
                       f"nested deeper than {NESTING_MAX}; return early or name the inner part")


def _first_too_deep(block, depth):
    for child in block.children:
        below = depth + (1 if child.kind in CONTROL_KINDS else 0)
        if below > NESTING_MAX:
            return child
        found = _first_too_deep(child, below)
        if found:
            return found
    return None


def line_length(project):
    """100 columns."""
    for path in project.texts:
        if not path.endswith(CPP + (".py", ".sh", ".cmake", "CMakeLists.txt")):
            continue
        for number, line in enumerate(project.source(path).lines, 1):
            if len(line) > LINE_COLUMNS_MAX:
                yield path, number, f"{len(line)} columns, the cap is {LINE_COLUMNS_MAX}"


def banned_names(project):
    """Names are domain nouns."""
    name = re.compile(r"\b(?:class|struct|enum|enum class|using|concept)\s+"
                      r"(?:\[\[[^\]]*\]\]\s*)?"
                      r"(\w*(?:Manager|Util|Helper)\w*)\b(?=\s*(?:[:{=;]|final))")
    for path in project.cpp:
        if re.search(r"manager|util|helper", Path(path).stem, re.I):
            yield path, 1, "Manager, Util and Helper say nothing; name the file after what it is"
        source = project.source(path)
        for match in name.finditer(source.code):
            yield (path, source.line_of(match.start()),
                   f"'{match.group(1)}': name the thing it is, not Manager, Util or Helper")


# pattern, where (a predicate of the path), what to do instead
def _everywhere(path):
    return True


def _product(path):
    return room_of(path) not in (None, "bpf")


def _not_app(path):
    return _product(path) and room_of(path) != "app"


def _no_sleep(path):
    """tests/apps stand in for slow services and bench paces load: both may wait."""
    return _product(path) or (path.startswith("tests/") and not path.startswith("tests/apps/"))


BANNED_CODE = [
    (r"\busing\s+namespace\s+std\s*;", _everywhere, "spell std:: (or a using-declaration)"),
    (r"\.\s*then\s*\(", _everywhere, "co_await the task; no continuation chains"),
    (r"(\.|->)\s*detach\s*\(", _everywhere, "spawn into a Scope, or join the thread"),
    (r"\b(sleep_for|sleep_until|usleep|nanosleep)\b|(?<![\w.>:])sleep\s*\(", _no_sleep,
     "wait for the event (timer, poll, virtual time), never for an amount of time"),
    (r"(?<![\w:])(std::)?(printf|puts|putchar)\s*\(|\bstd::cout\b", _not_app,
     "log through base/log.h; only app writes to standard output"),
    (r"\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|strtok)\s*\(", _everywhere,
     "use the bounded form (std::string_view, std::from_chars, fmt)"),
    (r"\b(system|popen)\s*\(", _product, "start programs by argument vector, not by a shell"),
    (r"\bstd::(regex|basic_regex)\b", _product, "use base/regex.h: linear time, bounded size"),
]

BANNED_TEXT = [
    (r"\b(TODO|FIXME|XXX|HACK)\b", "finish it, or say in a README what is missing"),
    (r"(?<![\w.~/$}-])/(work|root|home)/", "no path of one machine; take it from an argument"),
]
TIDY_OWN_WORDS = "tests/tidy/"


def banned_code(project):
    """Calls that have a better replacement here."""
    compiled = [(re.compile(p), where, instead) for p, where, instead in BANNED_CODE]
    for path in project.cpp:
        source = project.source(path)
        for pattern, where, instead in compiled:
            if not where(path):
                continue
            for match in pattern.finditer(source.code):
                yield (path, source.line_of(match.start()),
                       f"'{match.group(0).strip()}' is banned: {instead}")


def banned_text(project):
    """Leftovers and machine paths, in any text file."""
    compiled = [(re.compile(p), instead) for p, instead in BANNED_TEXT]
    for path in project.texts:
        if path.startswith(TIDY_OWN_WORDS):
            continue
        source = project.source(path)
        for pattern, instead in compiled:
            for match in pattern.finditer(source.raw):
                yield (path, source.line_of(match.start()),
                       f"'{match.group(0).strip()}' is banned: {instead}")


def bool_parameters(project):
    """A bare true or false at a call says nothing: an enum or an options struct does."""
    parameter = re.compile(r"(?:^|[(,])\s*(?:const\s+)?bool\b\s*&?\s*\w*\s*(?:=[^,]*)?(?=,|$)")
    for path in project.headers:
        if room_of(path) in (None, "bpf"):
            continue
        source = project.source(path)
        for offset, inner in _declared_parameters(source):
            if parameter.search(inner):
                yield (path, source.line_of(offset),
                       "bool parameter; take an enum or an options struct")


def _declared_parameters(source):
    """(offset, text) of each parenthesis at namespace or class level that declares parameters."""
    code = list(source.statements)
    for top in source.blocks:
        for block in top.walk():
            if block.kind in ("function", "init", "lambda"):
                for i in range(block.brace, max(block.end, block.brace) + 1):
                    code[i] = "\n" if code[i] == "\n" else " "
    text = "".join(code)
    opening, end = re.compile(r"[\w\])>]\s*\("), 0
    while match := opening.search(text, end):
        start, depth = match.end(), 1
        end = start
        while end < len(text) and depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        inner = text[start:end - 1]
        before = text[max(0, match.start() - 40):match.start() + 1]
        if re.search(r"<[^<>;]*$", before):  # std::function<void(bool)>
            continue
        yield match.start(), re.sub(r"<[^<>]*>|\([^()]*\)", "", inner)


def coroutine_lambdas(project):
    """A lambda dies before the frame that refers to its captures: pass them as parameters."""
    for path in project.cpp:
        source = project.source(path)
        for block in source.lambdas():
            captures = re.search(r"\[([^\[\]]*)\][^\[\]]*$", block.head)
            if not captures or not captures.group(1).strip():
                continue
            if re.search(r"\bco_(await|return|yield)\b", _own_body(source, block)):
                yield (path, source.line_of(block.brace),
                       "coroutine lambda with captures; pass them as parameters of the lambda")


def _own_body(source, block):
    body = list(source.statements[block.brace:block.end])
    for child in block.walk():
        if child is not block and child.kind == "lambda":
            for i in range(child.brace - block.brace, child.end - block.brace):
                body[i] = " "
    return "".join(body)


CHECKS = [file_length, function_length, nesting, line_length, banned_names, banned_code,
          banned_text, bool_parameters, coroutine_lambdas]
