"""Pictures of what was measured: SVG, written by hand, for they are bars and nothing else."""

from html import escape

WIDTH, BAR, GAP, LEFT, TOP = 760, 16, 4, 150, 34
COLOURS = ("#4878a8", "#9cc1e0")


def bars(title, unit, rows):
    """`rows`: a label, and the parts of its bar that are stacked."""
    longest = max((sum(parts) for _, parts in rows), default=0) or 1
    height = TOP + len(rows) * (BAR + GAP) + 8
    scale = (WIDTH - LEFT - 90) / longest
    text = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="8" y="18" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (label, parts) in enumerate(rows):
        y, x = TOP + number * (BAR + GAP), LEFT
        weight = ' font-weight="bold"' if label.startswith("ghostpin") else ""
        text.append(f'<text x="{LEFT - 6}" y="{y + 12}" text-anchor="end"{weight}>{escape(label)}</text>')
        for colour, part in zip(COLOURS, parts):
            text.append(f'<rect x="{x:.1f}" y="{y}" width="{part * scale:.1f}" height="{BAR}" fill="{colour}"/>')
            x += part * scale
        text.append(f'<text x="{x + 5:.1f}" y="{y + 12}">{sum(parts):,.1f} {escape(unit)}</text>')
    return "\n".join([*text, "</svg>"]) + "\n"


def of_cpu(name, unit, rows):
    return bars(f"{name}: processor time, user and system", f"us/{unit}",
                [(label, (row["user_us"], row["system_us"])) for label, row in rows.items()])


def of_waits(name, rows):
    return bars(f"{name}: 99 of 100 wait no longer than", "us", [(label, (row["p99_us"],)) for label, row in rows.items()])


def of_memory(name, rows):
    return bars(f"{name}: memory for each", "KiB", [(label, (row["idle_bytes"] / 1024,)) for label, row in rows.items()])
