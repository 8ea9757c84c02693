"""The measurements as tables in Markdown, and whether our targets are met."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tests import scenes
from tests.bench.pictures import HARD, Tally
from tests.bench.readers import LIVE, OURS, SINGLE, ZXING
from tests.bench.sequences import Watch, gains

#: What we want, each beside the figures: see `targets`.
GATE_PERCENT = 95.0
HARD_POINTS = 10.0
GAIN_FRAMES = 1
IDLE_SHARE = 0.25
LIVE_TIMES = 2.0


def pictures_table(tallies: Mapping[str, Tally]) -> Iterator[str]:
    """One line for each reader."""
    yield (
        "| reader | read, % | pictures with one read | codes read | wrong text | false reads "
        "| raised | CPU ms with a code: median / p95 / mean | without: median / p95 / mean |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, it in tallies.items():
        yield (
            f"| {name} | {it.rate():.1f} | {it.read} of {it.pictures} "
            f"| {it.codes_read} of {it.codes} | {it.wrong} | {it.false} | {it.raised} "
            f"| {_times(it.ms_with)} | {_times(it.ms_without)} |"
        )


def groups_table(tallies: Mapping[str, Tally], groups: Sequence[str]) -> Iterator[str]:
    """What each reader read of each group, in percent."""
    yield f"| read, % | {' | '.join(tallies)} |"
    yield "|---|" + "---|" * len(tallies)
    for group in groups:
        shares = (f"{it.rate(group):.0f}" for it in tallies.values())
        yield f"| {group.strip()} | {' | '.join(shares)} |"


def levels_table(tallies: Mapping[str, Tally]) -> Iterator[str]:
    """What was read on each level of each axis, in percent, by ours and by the most used two.

    `nan` is what was not measured.
    """
    shown = [name for name in (OURS, "pyzbar", ZXING) if name in tallies]
    yield f"| {' / '.join(shown)}, % | L1 | L2 | L3 | L4 | L5 |"
    yield "|---|---|---|---|---|---|"
    for axis in scenes.AXES:
        cells = (
            "/".join(f"{tallies[name].rate(f'{axis} {level}'):.0f}" for name in shown)
            for level in range(1, 6)
        )
        yield f"| {axis} | {' | '.join(cells)} |"


def sequences_table(watches: Mapping[str, Watch]) -> Iterator[str]:
    """One line for each reader: when it read, and what a frame costs."""
    yield (
        "| reader | read | frames to read: median / p90 / max | false reads "
        "| CPU ms a frame, mean: all | code in view | nothing there | somebody walks by |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for name, it in watches.items():
        counts, all_of_them = it.of_read(), len(it.frames_to_read)
        when = (
            f"{np.median(counts):g} / {np.percentile(counts, 90):.0f} / {max(counts)}"
            if counts
            else "-"
        )
        yield (
            f"| {name} | {len(counts)} of {all_of_them} | {when} | {it.false} "
            f"| {_mean(it.ms_all):.2f} | {_mean(it.ms_in_view):.2f} | {_mean(it.ms_idle):.2f} "
            f"| {_mean(it.ms_passing):.2f} |"
        )


def targets(
    gate: Mapping[str, Tally], hard: Mapping[str, Tally], watches: Mapping[str, Watch]
) -> Iterator[str]:
    """For each target one line: met or not, and the figures. Those not measured are left out."""
    if OURS in gate:
        rate = gate[OURS].rate()
        yield _line(
            rate >= GATE_PERCENT, f"gate frames: {rate:.1f} % read; at least {GATE_PERCENT:g}"
        )
        false = sum(measured[OURS].false + measured[OURS].wrong for measured in (gate, hard))
        yield _line(false == 0, f"gate frames: {false} false or wrong readings; none")
    for axis, level in HARD:
        yield from _hard_target(hard, f"{axis} {level}")
    mine = watches.get(LIVE)
    singles = [watches[name] for name in SINGLE if name in watches]
    if mine is None or not singles:
        return
    yield from _sequence_targets(mine, singles)
    if ZXING in watches:
        yield from _cost_targets(mine, watches[ZXING])


def _hard_target(hard: Mapping[str, Tally], group: str) -> Iterator[str]:
    rates = {name: hard[name].rate(group) for name in SINGLE if name in hard}
    if not rates or OURS not in hard:
        return
    best = max(rates, key=lambda name: rates[name])
    rate, codes = hard[OURS].rate(group), hard[OURS].groups[group][1]
    yield _line(
        rate >= rates[best] + HARD_POINTS,
        f"{group}: {rate:.0f} % of {codes} read, the best single reader ({best}) "
        f"{rates[best]:.0f}; at least {HARD_POINTS:g} points above it",
    )


def _sequence_targets(mine: Watch, singles: Sequence[Watch]) -> Iterator[str]:
    by = gains(mine, singles)
    later = sum(gain < 0 for gain in by)
    yield _line(
        later == 0,
        f"sequences: later than the best single reader in {later} of {len(by)}, "
        f"missed {mine.missed()}; never later",
    )
    yield _line(
        float(np.median(by)) >= GAIN_FRAMES,
        f"sequences: {np.median(by):g} frames earlier in the median, {np.mean(by):.2f} in the "
        f"mean, earlier in {sum(gain > 0 for gain in by)} of {len(by)}; at least {GAIN_FRAMES}",
    )


def _cost_targets(mine: Watch, zxing: Watch) -> Iterator[str]:
    share = _mean(mine.ms_idle) / _mean(zxing.ms_idle)
    yield _line(
        share < IDLE_SHARE,
        f"idle frame: {share:.2f} of zxing-cpp's default ({_mean(mine.ms_idle):.2f} and "
        f"{_mean(zxing.ms_idle):.2f} ms); less than {IDLE_SHARE}",
    )
    times = _mean(mine.ms_in_view) / _mean(zxing.ms_in_view)
    yield _line(
        times <= LIVE_TIMES,
        f"live, code in view: {times:.2f} times zxing-cpp's default ({_mean(mine.ms_in_view):.2f} "
        f"and {_mean(zxing.ms_in_view):.2f} ms); at most {LIVE_TIMES:g}",
    )


def _line(met: bool, text: str) -> str:
    return f"- {'met' if met else 'NOT met'}: {text}"


def _times(ms: Sequence[float]) -> str:
    if not ms:
        return "-"
    return f"{np.median(ms):.2f} / {np.percentile(ms, 95):.2f} / {np.mean(ms):.2f}"


def _mean(ms: Sequence[float]) -> float:
    return float(np.mean(ms)) if ms else float("nan")
