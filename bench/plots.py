"""SVG plots without any library: lines and bars, readable in a README."""

import math
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 380, 70, 50, 40, 210
COLOURS = ("#0b6e4f", "#c1440e", "#2b50aa", "#8d6a9f", "#d4a017", "#5c6b73", "#b5179e", "#3a7d44",
           "#e76f51", "#264653")


def _frame(title, body, x_label, y_label):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'font-family="sans-serif" font-size="12">'
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
            f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>'
            f'<text x="{LEFT}" y="{HEIGHT - 12}">{escape(x_label)}</text>'
            f'<text x="16" y="{TOP - 6}">{escape(y_label)}</text>{body}</svg>\n')


def _ticks(low, high, logarithmic):
    if logarithmic:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        return [10 ** e * m for e in range(first, last + 1) for m in (1, 2, 5)
                if low <= 10 ** e * m <= high]
    step = 10 ** math.floor(math.log10(high - low or 1))
    while (high - low) / step < 4:
        step /= 2
    return [low + i * step for i in range(int((high - low) / step) + 1)]


def lines(title, series, x_label, y_label, log_x=False, log_y=False):
    """series: {name: [(x, y), ...]}; empty series are left out."""
    series = {name: points for name, points in series.items() if points}
    if not series:
        return ""
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    low_x, high_x = (max(min(xs), 1e-9), max(xs)) if log_x else (min(xs), max(xs))
    high_y = max(ys) or 1
    low_y = max(min(ys), 1e-9) if log_y else 0
    height = math.log10(high_y / low_y) or 1 if log_y else high_y
    scale = math.log10 if log_x else (lambda value: value)
    span = (scale(high_x) - scale(low_x)) or 1

    def at(x, y):
        up = math.log10(y / low_y) if log_y else y
        return (LEFT + (scale(x) - scale(low_x)) / span * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - up / height * (HEIGHT - BOTTOM - TOP))

    body = ""
    for tick in _ticks(low_x, high_x, log_x):
        x, y = at(tick, low_y)
        body += (f'<line x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{TOP}" stroke="#eee"/>'
                 f'<text x="{x:.1f}" y="{y + 16}" text-anchor="middle">{tick:g}</text>')
    for tick in _ticks(low_y, high_y, log_y):
        _, y = at(low_x, tick)
        body += (f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#eee"/>'
                 f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for i, (name, points) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in points))
        body += (f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
                 f'<text x="{WIDTH - RIGHT + 10}" y="{TOP + 16 * (i + 1)}" fill="{colour}">'
                 f'{escape(name)}</text>')
    return _frame(title, body, x_label, y_label)


def bars(title, values, x_label):
    """values: {name: {part: value}}; parts are stacked in their order."""
    values = {name: parts for name, parts in values.items() if parts}
    if not values:
        return ""
    longest = max(sum(parts.values()) for parts in values.values()) or 1
    names = list(dict.fromkeys(part for parts in values.values() for part in parts))
    step = (HEIGHT - BOTTOM - TOP) / len(values)
    body, left = "", 190
    for row, (name, parts) in enumerate(values.items()):
        y, x = TOP + row * step, left
        base = f"{y + step / 2 + 4:.1f}"
        body += f'<text x="{left - 8}" y="{base}" text-anchor="end">{escape(name)}</text>'
        for part, value in parts.items():
            width = value / longest * (WIDTH - left - 130)
            colour = COLOURS[names.index(part) % len(COLOURS)]
            body += (f'<rect x="{x:.1f}" y="{y + 3:.1f}" width="{width:.1f}" '
                     f'height="{step - 6:.1f}" fill="{colour}"/>')
            x += width
        body += f'<text x="{x + 6:.1f}" y="{base}">{sum(parts.values()):.1f}</text>'
    for i, part in enumerate(names):
        body += (f'<text x="{WIDTH - 90}" y="{TOP + 16 * (i + 1)}" '
                 f'fill="{COLOURS[i % len(COLOURS)]}">{escape(part)}</text>')
    return _frame(title, body, x_label, "")
