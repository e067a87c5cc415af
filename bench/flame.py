"""Flame graph without any library: `perf script` text in, one SVG with hover titles out.

    perf script -F comm,ip,sym | python3 bench/flame.py > flame.svg
"""

import sys
from html import escape

WIDTH, ROW, FONT = 1400, 17, 11
MIN_PIXELS = 0.4
HUES = {"[k]": "#c1440e", "uring": "#2b50aa", "orlop": "#0b6e4f"}


class Frame:
    def __init__(self):
        self.samples, self.callees = 0, {}

    def add(self, stack):
        frame = self
        frame.samples += 1
        for name in stack:
            frame = frame.callees.setdefault(name, Frame())
            frame.samples += 1

    def depth(self):
        return 1 + max((f.depth() for f in self.callees.values()), default=0)


def read_stacks(lines):
    """Each sample: a line with the command, its frames innermost first, an empty line."""
    stack = []
    for line in lines:
        text = line.rstrip("\n")
        if not text:
            if stack:
                yield stack[::-1]
            stack = []
        elif text[0] in " \t":
            words = text.split(None, 1)
            stack.append(words[1] if len(words) > 1 else "[unknown]")
    if stack:
        yield stack[::-1]


def colour(name):
    for mark, hue in HUES.items():
        if mark in name:
            return hue
    return "#8d99ae"


def draw(frame, name, x, level, scale, height, out):
    width = frame.samples * scale
    if width < MIN_PIXELS:
        return
    y = height - (level + 1) * ROW
    share = f"{frame.samples} samples"
    shown = escape(name[:int(width / (FONT * 0.6))]) if width > 30 else ""
    out.append(f'<g><title>{escape(name)}: {share}</title><rect x="{x:.1f}" y="{y}" '
               f'width="{width:.1f}" height="{ROW - 1}" fill="{colour(name)}" opacity="0.8"/>'
               f'<text x="{x + 3:.1f}" y="{y + 12}">{shown}</text></g>')
    for callee, inner in sorted(frame.callees.items()):
        draw(inner, callee, x, level + 1, scale, height, out)
        x += inner.samples * scale


def flame_graph(lines):
    root = Frame()
    for stack in read_stacks(lines):
        root.add(stack)
    if root.samples == 0:
        return ""
    height = root.depth() * ROW + 10
    out = []
    draw(root, "all", 0, 0, WIDTH / root.samples, height, out)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'font-family="monospace" font-size="{FONT}"><rect width="{WIDTH}" height="{height}" '
            f'fill="white"/>{"".join(out)}</svg>\n')


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)
    sys.stdout.write(flame_graph(sys.stdin))
