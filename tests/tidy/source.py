"""A C++ file as the checks see it: the raw text, the same text with comments and string contents
blanked (same length, same line numbers), and the tree of brace blocks with their kind.

It is a lexer and a brace matcher, not a parser: it knows enough to tell a function body from a
class, a namespace, an initialiser, a control block and a lambda in code formatted by clang-format.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

CONTROL = re.compile(r"\b(if|for|while|switch|catch)\b")
LAMBDA_TAIL = re.compile(
    r"\]\s*(<[^{};]*>)?\s*(\((?P<params>[^{};]*)\))?\s*"
    r"(mutable|noexcept|constexpr|static|\s)*(->[^{};()]*(\([^()]*\))?[^{};()]*)?$")
SCOPE_WORD = re.compile(
    r"^(\s*(template\s*<.*>|export|inline|typedef|static|const|alignas\s*\([^)]*\)))*\s*"
    r"(namespace|class|struct|union|enum|extern)\b", re.S)
CASE = re.compile(r"^(\s*(case\b(?:[^:{}]|::)*|default)\s*:(?!:))+\s*")
LABEL = re.compile(r"\s*(public|private|protected|default|\w+)\s*:(?!:)")
TEMPLATE = re.compile(r"^\s*template\s*<(?:[^<>]|<(?:[^<>]|<[^<>]*>)*>)*>")
FUNCTION_TAIL = re.compile(
    r"(\)|\]|\bconst|\bnoexcept|\boverride|\bfinal|\btry|\bmutable|&|>|\}|\w)\s*$")


@dataclass
class Block:
    kind: str  # namespace, class, function, control, lambda, init
    begin: int  # offset of the statement that opens the block
    brace: int  # offset of '{'
    end: int = -1  # offset of '}'
    head: str = ""
    children: list = field(default_factory=list)

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()


def _blank(text):
    return "".join("\n" if c == "\n" else " " for c in text)


TOKEN = re.compile(
    r'//[^\n]*(?:\\\n[^\n]*)*'
    r'|/\*.*?\*/'
    r'|(?:u8|[uUL])?R"(?P<tag>[^()\\\s]{0,16})\(.*?\)(?P=tag)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'", re.S)


def blank_comments_and_strings(text):
    def replace(match):
        token = match.group(0)
        if token.startswith(("//", "/*")):
            return _blank(token)
        quote = '"' if token.rstrip()[-1] == '"' else "'"
        return quote + _blank(token[1:-1]) + quote
    return TOKEN.sub(replace, text)


def blank_comments(text):
    def replace(match):
        token = match.group(0)
        return _blank(token) if token.startswith(("//", "/*")) else token
    return TOKEN.sub(replace, text)


def blank_preprocessor(code):
    """Blanks directives and the #else halves, so that braces stay balanced."""
    lines, skipping, stack, continued = [], 0, [], False
    for line in code.split("\n"):
        word = re.match(r"\s*#\s*(\w+)", line)
        directive = word.group(1) if word and not continued else None
        if directive in ("if", "ifdef", "ifndef"):
            stack.append(0)
        elif directive in ("else", "elif") and stack:
            skipping += 1 - stack[-1]
            stack[-1] = 1
        elif directive == "endif" and stack:
            skipping -= stack.pop()
        drop = directive is not None or continued or skipping > 0
        continued = (directive is not None or continued) and line.endswith("\\")
        lines.append(" " * len(line) if drop else line)
    return "\n".join(lines)


class Source:
    def __init__(self, root: Path, path: str):
        self.root, self.path = root, path
        self.raw = (root / path).read_text(encoding="utf-8", errors="replace")

    @cached_property
    def lines(self):
        return self.raw.split("\n")

    @cached_property
    def line_count(self):
        return len(self.raw.splitlines())

    @cached_property
    def code(self):
        return blank_comments_and_strings(self.raw)

    @cached_property
    def statements(self):
        return blank_preprocessor(self.code)

    def line_of(self, offset):
        return self.raw.count("\n", 0, offset) + 1

    @cached_property
    def includes(self):
        """[(line, spelled, is_quoted)]"""
        found = []
        text = blank_comments(self.raw)
        for number, line in enumerate(text.split("\n"), 1):
            match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if match:
                found.append((number, match.group(2), match.group(1) == '"'))
        return found

    @cached_property
    def blocks(self):
        return BlockReader(self.statements).read()

    def functions(self):
        for top in self.blocks:
            for block in top.walk():
                if block.kind == "function":
                    yield block

    def lambdas(self):
        for top in self.blocks:
            for block in top.walk():
                if block.kind == "lambda":
                    yield block


class BlockReader:
    """One pass over the code; the head of a block is the text since the last statement end."""

    def __init__(self, code):
        self.code = code
        self.tops = []
        self.stack = []

    def read(self):
        begin, depth = 0, 0  # depth: parentheses open inside the current statement
        parens = []
        for offset, char in enumerate(self.code):
            if char in "([":
                depth += 1
            elif char in ")]":
                depth = max(0, depth - 1)
            elif char == "{":
                block = self._open(begin, offset, depth)
                parens.append((depth, begin))
                if block.kind != "init":
                    begin, depth = offset + 1, 0
            elif char == "}":
                if not self.stack:
                    continue
                block = self.stack.pop()
                block.end = offset
                depth, outer_begin = parens.pop()
                # A lambda or initialiser is part of its statement; other blocks end it.
                begin = outer_begin if block.kind in ("init", "lambda") else offset + 1
            elif char == ";" and depth == 0:
                begin = offset + 1
        return self.tops

    def _open(self, begin, offset, depth):
        label = LABEL.match(self.code, begin, offset)
        begin = label.end() if label else begin
        head = self.code[begin:offset]
        lead = len(head) - len(head.lstrip())
        block = Block(self._kind(head, depth), begin + lead, offset, head=head)
        (self.stack[-1].children if self.stack else self.tops).append(block)
        self.stack.append(block)
        return block

    def _inside_function(self):
        """In statements: the nearest scope is a body, not a class (which may be local)."""
        scopes = [b.kind for b in self.stack if b.kind != "init"]
        return bool(scopes) and scopes[-1] in ("function", "lambda", "control")

    def _kind(self, head, depth):
        text = head.strip()
        if self._is_lambda(text):
            return "lambda"
        if self.stack and self.stack[-1].kind == "init":
            return "init"
        if depth > 0:
            return "init"
        scope = SCOPE_WORD.match(head)
        if scope and not self._looks_like_function(text, scope.group(3)):
            word = scope.group(3)
            return "namespace" if word in ("namespace", "extern") else "class"
        if self._inside_function():
            return self._kind_in_body(text)
        if "(" in text and self._is_function_head(text):
            return "function"
        return "init"

    @staticmethod
    def _looks_like_function(text, word):
        if word in ("namespace", "enum"):
            return False
        flat = strip_parens(text)
        return bool(re.search(r"[\w>&*]\s+[\w:~&*]+\s*\(\)", flat)) and "alignas" not in text \
            and "__attribute__" not in text

    @staticmethod
    def _is_lambda(text):
        match = LAMBDA_TAIL.search(text)
        if not match:
            return False
        opening = matching_open(text, match.start())
        before = text[:opening].rstrip()
        word = re.search(r"(\w+|[\])])$", before)
        subscript = word and word.group(1) not in ("return", "co_return", "co_await", "co_yield")
        return opening >= 0 and not subscript and not text[opening:].startswith("[[")

    @staticmethod
    def _kind_in_body(text):
        text = re.sub(r"\s*\[\[\w+\]\]$", "", CASE.sub("", text))
        if text == "" or text.endswith((":", "else", "do", "try")):
            return "control"
        if CONTROL.match(re.sub(r"^(else|\[\[.*?\]\]|}|\s)+", "", text)) and text.endswith(")"):
            return "control"
        if re.match(r"([A-Z_]+|\w*for_each\w*)\s*\(", text) and text.endswith(")"):
            return "control"  # a macro loop
        return "init"

    @staticmethod
    def _is_function_head(text):
        flat = strip_parens(TEMPLATE.sub("", TEMPLATE.sub("", text)))
        if re.search(r"(?<![=!<>])=(?!=)", flat.split("operator")[0]):
            return False
        colon = re.search(r"\)\s*(noexcept\s*(\(\))?\s*)?:(?!:)", flat)
        if colon:  # constructor initialisers: `a_{` is an initialiser, `) {` and `} {` the body
            tail = flat[colon.end():].rstrip()
            return bool(re.search(r"[)}]$", tail))
        return bool(FUNCTION_TAIL.search(flat))


def strip_parens(text):
    """Drops what stands between parentheses, keeping the parentheses."""
    out, depth = [], 0
    for char in text:
        if char == ")":
            depth = max(0, depth - 1)
        if depth == 0:
            out.append(char)
        if char == "(":
            depth += 1
    return "".join(out)


def matching_open(text, close):
    """Offset of the bracket that `text[close]` closes, or -1."""
    pairs = {"]": "[", ")": "(", "}": "{", ">": "<"}
    opening, depth = pairs[text[close]], 0
    for offset in range(close, -1, -1):
        if text[offset] == text[close]:
            depth += 1
        elif text[offset] == opening:
            depth -= 1
            if depth == 0:
                return offset
    return -1
