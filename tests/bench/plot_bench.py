#!/usr/bin/env python3
"""Draws what `lapidary bench --json` printed, as two SVG files.

    plot_bench.py OUT_DIR LABEL=bench.json…

steps.svg: where the time of a step goes, a bar for each measure of each file.
streams.svg: tokens per second against requests at once, a line for each file,
and in grey what the machine could do at best. Standard library only.
"""

import json
import pathlib
import sys
from xml.sax.saxutils import escape

PARTS = (
    ("gemm", "GEMM", "#3b6fb6"),
    ("head", "head", "#7fb2e5"),
    ("attention", "attention", "#e08e45"),
    ("sampling", "sampling", "#b5651d"),
    ("other", "other compute", "#9aa5b1"),
    ("ple_wait", "PLE wait", "#5a9e6f"),
    ("messages", "messages", "#c0392b"),
)
LINES = ("#3b6fb6", "#e08e45", "#5a9e6f", "#8e5ea2")
WIDTH, FONT = 760, 'font-family="sans-serif" font-size="12"'


def text(x, y, words, anchor="start", fill="#222"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
            f'fill="{fill}" {FONT}>{escape(words)}</text>')


def line(x1, y1, x2, y2, colour="#ccc", extra=""):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{colour}" {extra}/>')


def rectangle(x, y, width, height, colour, title=""):
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" fill="{colour}">'
            f"<title>{escape(title)}</title></rect>")


def picture(height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
            f'height="{height}" viewBox="0 0 {WIDTH} {height}">\n'
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n' +
            "\n".join(parts) + "\n</svg>\n")


def legend(entries, y):
    parts, x = [], 140
    for words, colour in entries:
        parts += [rectangle(x, y - 10, 12, 12, colour),
                  text(x + 17, y, words)]
        x += 32 + 7 * len(words)
    return parts


def draw_steps(benches):
    left, right, bar, gap, y = 140, WIDTH - 90, 18, 7, 44
    parts = [text(left, 18, "Where the time of a step goes")]
    for label, bench in benches:
        parts.append(text(8, y + 13, label))
        for row in bench["rows"]:
            if row["steps"]["steps"] == 0:
                continue
            parts.append(text(left - 8, y + 13, row["name"], "end"))
            x = left
            for key, name, colour in PARTS:
                share = row["step_shares"][key]
                width = max(0.0, share) * (right - left)
                parts.append(rectangle(x, y, width, bar, colour,
                                       f"{name} {100 * share:.1f} %"))
                x += width
            parts.append(text(right + 6, y + 13, f"{row['step_ms']:.1f} ms"))
            y += bar + gap
        y += gap
    for tenth in range(0, 11, 2):
        x = left + tenth / 10 * (right - left)
        parts += [line(x, y - gap, x, y, "#888"),
                  text(x, y + 14, f"{10 * tenth} %", "middle")]
    parts += legend([(name, colour) for _, name, colour in PARTS], y + 38)
    return picture(int(y + 52), parts)


def round_up(value):
    """The next of 1, 2, 5, 10, 20, 50, … above `value`."""
    step = 1.0
    while True:
        for factor in (1, 2, 5):
            if step * factor >= value:
                return step * factor
        step *= 10


def draw_streams(benches):
    left, right, top, bottom = 70, WIDTH - 30, 40, 330
    curves = []
    for label, bench in benches:
        rows = [row for row in bench["rows"] if row["kind"] == "streams"]
        if rows:
            curves.append((label, rows))
    if not curves:
        sys.exit("no measure of streams in these files")
    most_streams = max(row["streams"] for _, rows in curves for row in rows)
    most = round_up(max(row["tokens_per_second"]
                        for _, rows in curves for row in rows))

    def at(streams, rate):
        return (left + (right - left) * streams / most_streams,
                bottom - (bottom - top) * min(rate, most) / most)

    parts = [text(left, 18, "Tokens per second, all answers together, against "
                            "requests at once (dashed: at best)")]
    for fifth in range(6):
        _, y = at(0, most * fifth / 5)
        parts += [line(left, y, right, y),
                  text(left - 6, y + 4, f"{most * fifth / 5:g}", "end")]
    for streams in sorted({row["streams"] for _, rows in curves
                           for row in rows}):
        x, _ = at(streams, 0)
        parts += [line(x, bottom, x, bottom + 5, "#888"),
                  text(x, bottom + 18, str(streams), "middle")]
    for (label, rows), colour in zip(curves, LINES):
        rows.sort(key=lambda row: row["streams"])
        reached = [at(r["streams"], r["tokens_per_second"]) for r in rows]
        best = [at(r["streams"], r["limit"]["tokens_per_second"])
                for r in rows]
        for points, extra in ((best, 'stroke-dasharray="4 4" opacity="0.6"'),
                              (reached, 'stroke-width="2"')):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(f'<polyline points="{path}" fill="none" '
                         f'stroke="{colour}" {extra}/>')
        for (x, y), row in zip(reached, rows):
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" '
                      f'fill="{colour}"/>',
                      text(x - 4, y - 8, f"{row['tokens_per_second']:.1f}",
                           "end", colour)]
    parts += legend([(label, colour)
                     for (label, _), colour in zip(curves, LINES)],
                    bottom + 44)
    return picture(bottom + 60, parts)


def main():
    if len(sys.argv) < 3 or not all("=" in arg for arg in sys.argv[2:]):
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    benches = []
    for argument in sys.argv[2:]:
        label, path = argument.split("=", 1)
        benches.append((label, json.loads(pathlib.Path(path).read_text())))
    (folder / "steps.svg").write_text(draw_steps(benches))
    (folder / "streams.svg").write_text(draw_streams(benches))


if __name__ == "__main__":
    main()
