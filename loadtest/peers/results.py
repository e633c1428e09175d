"""What was measured, in tables; and how it differs from what was measured before."""

import statistics


def summary(rounds_of):
    """Medians over the rounds. The ratio is the median of the rounds' ratios against the first peer in the same round."""
    base_rounds = next(iter(rounds_of.values()))
    rows = {}
    for label, rounds in rounds_of.items():
        row = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        key = next(key for key in ("total_us", "p99_us", "idle_bytes") if key in row)
        row["ratio"] = statistics.median(one[key] / base[key] for one, base in zip(rounds, base_rounds) if base[key])
        rows[label] = row
    return rows


def of_cpu(name, unit, rows, cores):
    lines = [
        f"**{name}**", "",
        f"| proxy | user + sys = us/{unit} | against the first | {unit}s/s | busy: proxy, others |",
        "|---|---|---|---|---|",
    ]
    for label, row in rows.items():
        lines.append(
            f"| {label} | {row['user_us']:.1f} + {row['system_us']:.1f} = {row['total_us']:.1f} | {row['ratio']:.2f} "
            f"| {row['per_second']:,.0f} | {row['core_share']:.0%}, {row['others_share']:.0%} of {cores} |")
    return "\n".join(lines) + "\n"


def of_waits(name, rows):
    lines = [
        f"**{name}**", "",
        "| proxy | p50, us | p99, us | p99 against the first | p99.9, us | longest, us | failed |",
        "|---|---|---|---|---|---|---|",
    ]
    for label, row in rows.items():
        lines.append(
            f"| {label} | {row['p50_us']:,.0f} | {row['p99_us']:,.0f} | {row['ratio']:.2f} | {row['p999_us']:,.0f} "
            f"| {row['longest_us']:,.0f} | {row['failed']:,.0f} |")
    return "\n".join(lines) + "\n"


def of_memory(name, rows):
    lines = [
        f"**{name}**", "",
        "| proxy | without any, MB | an idle one, KiB | against the first | an active one, KiB |",
        "|---|---|---|---|---|",
    ]
    for label, row in rows.items():
        lines.append(
            f"| {label} | {row['bare_bytes'] / 1e6:.1f} | {row['idle_bytes'] / 1024:.1f} | {row['ratio']:.2f} "
            f"| {row['active_bytes'] / 1024:.1f} |")
    return "\n".join(lines) + "\n"


def median_and_worst(rounds, key, scale=1.0, form=",.0f"):
    values = [one[key] * scale for one in rounds]
    return f"{statistics.median(values):{form}} ({max(values):{form}})"


def of_spread(rounds_of):
    """`rounds_of`: by situation, and then by proxy."""
    lines = [
        "| | proxy | the busier worker has of the connections, % | of the time, % | p50, us | p99, us | failed |",
        "|---|---|---|---|---|---|---|",
    ]
    for situation, peers in rounds_of.items():
        for label, rounds in peers.items():
            lines.append(
                f"| {situation} | {label} | {median_and_worst(rounds, 'connections_share', 100)} "
                f"| {median_and_worst(rounds, 'time_share', 100)} | {median_and_worst(rounds, 'p50_us')} "
                f"| {median_and_worst(rounds, 'p99_us')} | {sum(one['failed'] for one in rounds):,} |")
    return "\n".join(lines) + "\n"


def of_neighbours(rounds_of):
    """`rounds_of`: by situation, of which the first is the one that others are compared with, and then by proxy."""
    lines = [
        "| | proxy | p50, us | p99, us | p99, times the first's | directly, p99, us | the other one gets, MB/s | failed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for situation, peers in rounds_of.items():
        base = next(iter(peers.values()))
        for label, rounds in peers.items():
            ratio = statistics.median(one["p99_us"] / of["p99_us"] for one, of in zip(rounds, base))
            gets = [one["greedy_mb_per_second"] for one in rounds if "greedy_mb_per_second" in one]
            lines.append(
                f"| {situation} | {label} | {median_and_worst(rounds, 'p50_us')} | {median_and_worst(rounds, 'p99_us')} "
                f"| {ratio:.2f} | {median_and_worst(rounds, 'direct_p99_us')} "
                f"| {f'{statistics.median(gets):,.1f}' if gets else '-'} | {sum(one['failed'] for one in rounds):,} |")
    return "\n".join(lines) + "\n"


def against(before, now):
    """Ratios of then and now, where both have one."""
    lines = ["| load | proxy | ratio then | now |", "|---|---|---|---|"]
    for load, measured in now["loads"].items():
        known = before.get("loads", {}).get(load, {}).get("summary", {})
        for label, row in measured["summary"].items():
            name = label.split()[0]
            then = next((old for other, old in known.items() if other.split()[0] == name), None)
            if then:
                lines.append(f"| {load} | {name} | {then['ratio']:.2f} | {row['ratio']:.2f} |")
    return "\n".join(lines) + "\n"
