"""Figures of tuning: training curves, how many pairs differ, arms compared. See "
"core/figures/maps.py."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import wording
from core.figures.base import (
    CATEGORIES,
    CLOSENESS,
    TUNED,
    Figure,
    Palette,
    Sheet,
    coloured,
    palette,
    plain_text,
    quiet_axis,
    series,
    tabled,
    wrapped,
)


def training_curves(points: pd.DataFrame, *, dark: bool = False) -> Figure:
    """Loss above, learning rate below, by step. points: iso3, step, steps, loss, rate.

    Several adapters (one for each country) are several thin lines.
    """
    on = palette(dark)
    several = points["iso3"].nunique() > 1
    sheet = Sheet(
        260,
        dark,
        xaxis=_steps_axis(points, on, "y2"),
        yaxis={**_side_axis(on), "domain": [0.36, 1], "rangemode": "tozero"},
        yaxis2={
            **_side_axis(on),
            "domain": [0, 0.2],
            "rangemode": "tozero",
            "tickvals": [0, points["rate"].max()],
            "ticktext": ["0", f"{points['rate'].max():g}"],
        },
    )
    sheet.margin(56, 8, 22, 34)
    for iso3, one in points.groupby("iso3", sort=False):
        line = {"color": TUNED.colour, "width": 1.2 if several else 2}
        name = f"{iso3} · " if iso3 else ""
        sheet.trace(
            "scatter", x=one["step"], y=one["loss"], mode="lines", line=line,
            hovertemplate=f"{name}step %{{x}}: loss %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
        sheet.trace(
            "scatter", x=one["step"], y=one["rate"], yaxis="y2", mode="lines",
            line={"color": on.muted, "width": 1.2},
            hovertemplate=f"{name}step %{{x}}: learning rate %{{y:.2g}}<extra></extra>",
        )  # fmt: skip
    for text, y in (("Loss", 1.0), ("Learning rate", 0.25)):
        sheet.note(text, 0, y, xref="paper", yref="paper", yanchor="bottom", xshift=-56,
                   colour=on.muted, size=12)  # fmt: skip
    first, last = points["loss"].iloc[0], points["loss"].iloc[-1]
    table = points[["iso3", "step", "loss", "rate"]].rename(
        columns={"iso3": "Country", "step": "Step", "loss": "Loss", "rate": "Learning rate"}
    )
    alt = (
        f"Loss by step, from {wording.number(first, 3)} at first to {wording.number(last, 3)} at "
        "step "
        f"{int(points['step'].iloc[-1])} of {int(points['steps'].iloc[-1])}."
    )
    table = table if several else table.drop(columns="Country")
    return Figure(sheet.done(), table.round(6).reset_index(drop=True), alt)


def _steps_axis(points: pd.DataFrame, on, anchor: str) -> dict:
    return {
        **quiet_axis(),
        "range": [0, max(int(points["steps"].max()), 1)],
        "anchor": anchor,
        "visible": True,
        "showgrid": False,
        "zeroline": False,
        "showticklabels": True,
        "tickfont": {"color": on.muted, "size": 11},
        "nticks": 6,
        "title": {"text": "steps", "font": {"color": on.muted, "size": 11}, "standoff": 4},
    }


def _side_axis(on) -> dict:
    return {
        "visible": True,
        "showgrid": True,
        "gridcolor": on.line,
        "zeroline": False,
        "showticklabels": True,
        "tickfont": {"color": on.muted, "size": 11},
        "nticks": 4,
        "fixedrange": True,
    }


def yield_map(df: pd.DataFrame, *, dark: bool = False, narrow: bool = False) -> Figure:
    """Share of pairs that differ, topics by countries. df: name, topic, pairs, differing, share."""
    on = palette(dark)
    names = list(df.groupby("name")["share"].mean().sort_values(ascending=False).index)
    topics = list(dict.fromkeys(df["topic"]))
    shares = df.pivot(index="topic", columns="name", values="share").loc[topics, names]
    counts = df.pivot(index="topic", columns="name", values="pairs").loc[topics, names]
    short = [textwrap.shorten(topic, 20 if narrow else 44, placeholder="…") for topic in topics]
    step, named = 24, not narrow or len(names) <= 8  # else there is no room for their names
    sheet = Sheet(
        step * len(topics) + (128 if named else 40),
        dark,
        xaxis={**quiet_axis(), "visible": True, "showgrid": False, "side": "top",
               "showticklabels": named, "tickangle": -60,
               "tickfont": {"size": 11, "color": on.ink}},
        yaxis={**quiet_axis(), "visible": True, "showgrid": False, "autorange": "reversed",
               "showticklabels": True, "tickfont": {"size": 11, "color": on.ink}},
    )  # fmt: skip
    sheet.margin(128 if narrow else 270, 34, 96 if named else 8, 26)
    sheet.trace(
        "heatmap",
        x=names,
        y=short,
        z=100 * shares.to_numpy(),
        customdata=counts.to_numpy(),
        colorscale=[[k / (len(CLOSENESS) - 1), colour] for k, colour in enumerate(CLOSENESS)],
        zmin=0,
        zmax=100,
        xgap=1,
        ygap=1,
        showscale=False,
        hovertemplate="%{x}, %{y}: %{z:.0f} % of %{customdata} pairs differ<extra></extra>",
    )
    swatches = "".join(f"<span style='color:{colour}'>■</span>" for colour in CLOSENESS)
    sheet.note(f"0% {swatches} 100% of the pairs differ", 0, 0, xref="paper", yref="paper",
               xshift=-128 if narrow else -270, yanchor="top", yshift=-6,
               colour=on.muted)  # fmt: skip
    table = (
        df.assign(share=(100 * df["share"]).round(1))
        .rename(columns={"name": "Country", "topic": "Topic", "pairs": "Pairs",
                         "differing": "Differ", "share": "Differ, %"})
        [["Country", "Topic", "Pairs", "Differ", "Differ, %"]]
    )  # fmt: skip
    total = df["differing"].sum() / max(df["pairs"].sum(), 1)
    alt = (
        f"Share of pairs that differ by topic and country: {wording.percent(total)} on average, "
        f"most for {names[0]}, fewest for {names[-1]}."
    )
    return Figure(sheet.done(), table.reset_index(drop=True), alt)


# ------------------------------------------------------------------------------------------------
# Arms


class Look(NamedTuple):
    """How a kind of arm is drawn: colour and shape say the same. hollow: the page shows through."""

    label: str
    colour: str
    symbol: str
    sign: str
    hollow: bool = False


# Kinds as kind_of() names them. What was not tuned keeps the colour of its method.
LOOKS: dict[str, Look] = {
    "own": Look("on its own answers", TUNED.colour, "square", "■"),
    "human": Look("on people’s answers", CATEGORIES[0], "triangle-up", "▲"),
    "control": Look("a control", TUNED.colour, "square", "□", hollow=True),
    "base": Look("before tuning", series("country").colour, "diamond", "◆"),
    "calibrated": Look("not tuned", series("country").colour, "diamond", "◇", hollow=True),
    "better_prompt": Look("not tuned", series("country").colour, "diamond", "◇", hollow=True),
}


def kind_of(row) -> str:
    """The look of a row of experiments.arms_table(): its name where it is no arm, else whose
    answers it was taught."""
    if row.arm in LOOKS:
        return row.arm
    return "control" if row.control else "human" if row.human else "own"


def _marker(kind: str, clear: bool, on: Palette, size: int = 11) -> dict:
    """Pale where too small to call, whatever the kind; the shape still tells the kind."""
    look = LOOKS[kind]
    colour = look.colour if clear else on.too_small
    return {
        "size": size,
        "symbol": look.symbol,
        "color": on.page if look.hollow else colour,
        "line": {"color": colour, "width": 2 if look.hollow else 1},
    }


def _arm_keys(kinds: Sequence[str], pale: bool, on: Palette) -> str:
    """The legend: a sign and a word for each kind that is drawn."""
    looks = dict.fromkeys((k.label, k.colour, k.sign) for name, k in LOOKS.items() if name in kinds)
    keys = [f"{coloured(sign, colour)} {label}" for label, colour, sign in looks]
    if pale:
        keys.append(f"{coloured('■', on.too_small)} too small to call")
    return "   ".join(keys)


def arm_dots(df: pd.DataFrame, *, label: str, dark: bool = False, narrow: bool = False) -> Figure:
    """Each arm's change against the base with its interval, the highest first; pale where too
    small to call. At the right how far its countries lie apart.

    df: as experiments.arms_table(); the base is the line at zero.
    """
    on = palette(dark)
    shown = df[df["change"].notna() & df["arm"].ne("base")]
    shown = shown.sort_values("change", ascending=False, kind="stable").reset_index(drop=True)
    rows = [(row, kind_of(row)) for row in shown.itertuples()]
    low, high = _reach(shown)
    step, lines = (70, 3) if narrow else (40, 1)
    head = 18 * lines + 40
    height = head + step * max(1, len(rows)) + 6
    left, right = (12, 12) if narrow else (_NAMES, 96)
    sheet = Sheet(
        height, dark, xaxis=quiet_axis(range=[low, high]), yaxis=quiet_axis(range=[height, 0])
    )
    sheet.margin(left, right)
    keys = _arm_keys([kind for _, kind in rows], bool((~shown["clear"]).any()), on)
    for k, text in enumerate(wrapped_keys(keys, 3 if narrow else 9)):
        sheet.note(text, 0, 18 * k + 9, colour=on.muted, xref="paper", xshift=-left, size=11)
    _change_axis(sheet, low, high, head, height, on)
    apart = "countries apart, % of people" if narrow else "Countries apart,<br>% of people"
    sheet.note(apart, 1, 45 if narrow else head - 17, colour=on.muted, xref="paper", size=11,
               anchor="right", align="right", xshift=right)  # fmt: skip
    for k, (row, kind) in enumerate(rows):
        y = head + step * (k + 0.5) + (20 if narrow else 0)
        _arm_row(sheet, row, kind, y, on, narrow, left, right)
    alt = f"{label}: no arm can be compared yet."
    if rows:
        best = shown.iloc[0]
        alt = (
            f"Change in {label.lower()} of {len(rows)} rows against the model before tuning, "
            f"{int(shown['clear'].sum())} of them clear; the highest is {best['title']} with "
            f"{wording.signed(best['change'])} points "
            f"({wording.interval(best['low'], best['high'])})."
        )
    return Figure(sheet.done(), _arms_table(df, label), alt)


_NAMES = 330  # pixels for names at the left


def wrapped_keys(keys: str, most: int) -> list[str]:
    """A legend in lines of at most `most` keys."""
    parts = keys.split("   ")
    return ["   ".join(parts[k : k + most]) for k in range(0, len(parts), most)]


def _reach(shown: pd.DataFrame) -> tuple[float, float]:
    """The ends of the axis of changes: all intervals, zero, and at least a point either way."""
    ends = shown[["low", "high", "change"]].to_numpy(float)
    ends = ends[np.isfinite(ends)]
    low = min(-1.0, *ends) if len(ends) else -1.0
    high = max(1.0, *ends) if len(ends) else 1.0
    pad = 0.04 * (high - low)
    return low - pad, high + pad


def _change_axis(
    sheet: Sheet, low: float, high: float, head: int, height: int, on: Palette
) -> None:
    """Ticks in points; zero is the model before tuning."""
    span = high - low
    spacing = next(s for s in (0.5, 1, 2, 5, 10, 20, 50) if span / s <= 9)
    for tick in np.arange(math.ceil(low / spacing) * spacing, high, spacing):
        zero = abs(tick) < 1e-9
        sheet.line((tick, tick), (head - 6, height - 4), colour=on.muted if zero else on.line,
                   layer="below")  # fmt: skip
        places = 0 if spacing >= 1 else 1
        said = "before" if zero else wording.signed(float(tick), places)
        sheet.note(said, float(tick), head - 15,
                   colour=on.ink if zero else on.muted, size=11, anchor="center")  # fmt: skip


def _arm_row(
    sheet: Sheet, row, kind: str, y: float, on: Palette, narrow: bool, left: int, right: int
) -> None:
    look = LOOKS[kind]
    ink = on.ink if row.clear else on.muted
    if math.isfinite(row.low):
        colour = look.colour if row.clear else on.too_small
        sheet.line((row.low, row.high), (y, y), colour=colour, width=2, layer="below")
    sheet.trace(
        "scatter",
        x=[row.change],
        y=[y],
        mode="markers",
        marker=_marker(kind, row.clear, on),
        customdata=[[row.arm]],
        hovertemplate=f"{_arm_hover(row)}<extra></extra>",
        cliponaxis=False,
        name=row.arm,
    )
    number = str(row.number or "")
    name = plain_text(textwrap.shorten(row.title, 80 if narrow else 96, placeholder="…"))
    told = wording.number(100 * row.diversity, 0) if math.isfinite(row.diversity) else ""
    above = 42 if narrow else 0  # names lie over their dots where there is no room beside them
    at = {"xref": "paper", "yanchor": "top" if narrow else "middle", "bgcolor": on.page}
    sheet.note(number, 0, y - above, xshift=(16 if narrow else 24) - left, anchor="right",
               colour=on.muted, **at)  # fmt: skip
    sheet.note(wrapped(name, 42 if narrow else 46), 0, y - above, align="left",
               xshift=(24 if narrow else 34) - left, colour=ink, **at)  # fmt: skip
    sheet.note(_apart(row, told), 1, y - above, xshift=right, anchor="right",
               colour=on.ink if row.diversity_clear else on.muted, **at)  # fmt: skip


def _apart(row, said: str) -> str:
    """A diversity ratio in per cent, with an arrow where it clearly changed."""
    if not said or not row.diversity_clear:
        return said
    return f"{'↓' if row.diversity_change < 0 else '↑'} {said}"


def _arm_hover(row) -> str:
    lines = [f"<b>{wrapped(plain_text(row.title), 44)}</b>"]
    between = wording.interval(row.low, row.high)
    lines.append(f"{wording.signed(row.change)} points{f', {between}' if between else ''}")
    lines.append(f"score {wording.number(row.score)} of 100")
    if math.isfinite(row.diversity):
        lines.append(f"countries {wording.percent(row.diversity)} as far apart as people")
    if row.seeds:
        lines.append(wording.count(int(row.seeds), "seed"))
    lines.append(wrapped(plain_text(row.verdict), 44))
    return "<br>".join(lines)


def _arms_table(df: pd.DataFrame, label: str) -> pd.DataFrame:
    """The table twin: every row with its score, its change and its diversity."""
    columns = {
        "title": "Arm", "score": label, "score_low": "Score from", "score_high": "Score to",
        "change": "Change", "low": "From", "high": "To", "seeds_low": "Over seeds, from",
        "seeds_high": "Over seeds, to", "seeds": "Seeds", "examples": "Examples",
        "floor": "Even odds", "others": "Guess without a country", "ceiling": "Another sample",
    }  # fmt: skip
    table = tabled(df, columns)
    for column, name in (("diversity", "Apart, %"), ("diversity_change", "Apart, change")):
        table[name] = (100 * df[column]).round(1).to_numpy()
    return table.assign(**{"In words": df["verdict"].to_numpy()})


# -- closeness and diversity -----------------------------------------------------------------------


def arms_diversity(
    points: pd.DataFrame, *, label: str, dark: bool = False, narrow: bool = False
) -> Figure:
    """Closeness against diversity: people, the base, and an arrow from it to every arm.

    points: as experiments.alignment_diversity(); numbers are those of arm_dots().
    """
    on = palette(dark)
    x, y = _padded(points["diversity"], 0.08, 0.06), _padded(points["score"], 0.1, 0.8)
    sheet = Sheet(440, dark, xaxis=quiet_axis(range=x), yaxis=quiet_axis(range=y))
    sheet.margin(48, 10, 36, 56)
    _plane(sheet, x, y, label, on, narrow)
    kinds = [kind for kind in points["kind"] if kind != "people"]
    keys = _arm_keys(kinds, bool((~points["clear"] & points["number"].gt(0)).any()), on)
    lines = wrapped_keys(keys, 3 if narrow else 9)
    for k, text in enumerate(lines):
        sheet.note(text, 0, 1, xref="paper", yref="paper", xshift=-48, colour=on.muted, size=11,
                   yshift=26 - 16 * k)  # fmt: skip
    base = points[points["kind"].eq("base")]
    for row in points.itertuples():
        if row.kind == "people":
            _people_point(sheet, row, on)
            continue
        if len(base) and row.kind != "base":
            _arrow(sheet, base.iloc[0], row, on)
        _point(sheet, row, on)
    _write_names(sheet, points, x, y, on)
    table = _points_table(points, label)
    alt = f"{label} against diversity: nothing to draw yet."
    if len(base) and len(points) > 1:
        arms = points[points["number"].gt(0)]
        left = int((arms["diversity"] < base["diversity"].iloc[0]).sum())
        alt = (
            f"{label} against diversity for {wording.count(len(arms), 'arm')}: the model before "
            f"tuning has {wording.number(base['score'].iloc[0])} of 100 and countries "
            f"{wording.percent(base['diversity'].iloc[0])} as far apart as people; {left} of the "
            "arms lie to its left, where countries are more alike."
        )
    return Figure(sheet.done(), table, alt)


def _write_names(sheet: Sheet, points: pd.DataFrame, x: tuple, y: tuple, on: Palette) -> None:
    """A word or a number beside each point, away from the base, so that no arrow crosses it.

    A point too near to one that has its word goes without; whoever points at it reads it.
    """
    base = points[points["kind"].eq("base")]
    told = {"base": "<b>before tuning</b>", "calibrated": "calibrated",
            "better_prompt": "better prompt"}  # fmt: skip
    taken: list[tuple[float, float]] = []
    for row in points.sort_values("number", key=lambda n: n.gt(0), kind="stable").itertuples():
        across = (row.diversity - x[0]) / (x[1] - x[0])
        up = (row.score - y[0]) / (y[1] - y[0])
        near = any(abs(across - a) < 0.035 and abs(up - b) < 0.06 for a, b in taken)
        if row.kind == "people" or (near and row.kind != "base"):
            continue
        taken.append((across, up))
        right, above = 0.0, -1.0
        if row.kind != "base" and len(base):
            right = across - (base["diversity"].iloc[0] - x[0]) / (x[1] - x[0])
            above = up - (base["score"].iloc[0] - y[0]) / (y[1] - y[0])
        beside = abs(right) > abs(above)
        sheet.note(
            told.get(row.kind, str(row.number)), row.diversity, row.score, size=11,
            colour=on.ink if row.clear or row.kind == "base" else on.muted,
            anchor="center" if not beside else "left" if right > 0 else "right",
            xshift=0 if not beside else 9 if right > 0 else -9,
            yshift=0 if beside else 15 if above > 0 else -16,
            bgcolor=on.page,
        )  # fmt: skip


def _padded(values: pd.Series, share: float, least: float) -> tuple[float, float]:
    values = values.dropna()
    if values.empty:
        return 0.0, 1.0
    pad = max(least, share * float(np.ptp(values)))
    return float(values.min()) - pad, float(values.max()) + pad


def _plane(sheet: Sheet, x: tuple, y: tuple, label: str, on: Palette, narrow: bool) -> None:
    """Grid, ticks and the names of the axes."""
    step = 0.1 if x[1] - x[0] < 0.7 and not narrow else 0.2
    for tick in np.arange(math.ceil(x[0] / step) * step, x[1], step):
        sheet.line((tick, tick), y, colour=on.line, layer="below")
        sheet.note(f"{round(100 * tick)}%", float(tick), 0, yref="paper", yshift=-10, size=11,
                   colour=on.muted, anchor="center")  # fmt: skip
    span = y[1] - y[0]
    spacing = next(s for s in (0.5, 1, 2, 5, 10, 20) if span / s <= 8)
    for tick in np.arange(math.ceil(y[0] / spacing) * spacing, y[1], spacing):
        sheet.line(x, (tick, tick), colour=on.line, layer="below")
        sheet.note(wording.number(float(tick), 0 if spacing >= 1 else 1), 0, float(tick),
                   xref="paper", xshift=-6, size=11, colour=on.muted, anchor="right")  # fmt: skip
    below = {"xref": "paper", "yref": "paper", "size": 12}
    what = (
        "Countries apart, % of people →"
        if narrow
        else ("How far countries lie apart, as a share of people’s distance →")
    )
    sheet.note(f"<b>{what}</b>", 0.5, 0, colour=on.ink, anchor="center", yshift=-36, **below)
    sheet.note(f"<b>{plain_text(label)} →</b>", 0, 0.5, colour=on.ink, anchor="center",
               xshift=-40, textangle=-90, **below)  # fmt: skip


def _people_point(sheet: Sheet, row, on: Palette) -> None:
    sheet.trace(
        "scatter", x=[row.diversity], y=[row.score], mode="markers+text", text=["<b>people</b>"],
        textposition="middle left", textfont={"size": 12, "color": on.ink},
        marker={"size": 12, "color": on.people},
        hovertemplate=f"<b>People</b><br>{wording.CEILING}: {wording.number(row.score)} of 100"
        "<extra></extra>",
        cliponaxis=False, name="people",
    )  # fmt: skip


def _arrow(sheet: Sheet, base, row, on: Palette) -> None:
    """From the base to an arm, stopping short of its marker."""
    colour = LOOKS[row.kind].colour if row.clear else on.too_small
    sheet.note(
        "", row.diversity, row.score, colour=colour, showarrow=True, ax=base["diversity"],
        ay=base["score"], axref="x", ayref="y", arrowhead=2, arrowsize=0.8, arrowwidth=1.2,
        arrowcolor=colour, standoff=8, startstandoff=7, opacity=0.75,
    )  # fmt: skip


def _point(sheet: Sheet, row, on: Palette) -> None:
    sheet.trace(
        "scatter", x=[row.diversity], y=[row.score], mode="markers",
        marker=_marker(row.kind, row.clear or row.kind == "base", on,
                       13 if row.kind == "base" else 10),
        customdata=[[row.arm]],
        hovertemplate=f"<b>{wrapped(plain_text(row.title), 44)}</b><br>"
        f"{wording.number(row.score)} of 100<br>countries {wording.percent(row.diversity)} as far "
        f"apart as people<br>{wrapped(plain_text(row.verdict), 44)}<extra></extra>",
        cliponaxis=False, name=row.arm,
    )  # fmt: skip


def _points_table(points: pd.DataFrame, label: str) -> pd.DataFrame:
    columns = {"number": "No.", "title": "Arm", "score": label, "score_low": "From",
               "score_high": "To"}  # fmt: skip
    table = tabled(points, columns)
    table["No."] = [str(n) if n else "" for n in points["number"]]
    for column, name in (("diversity", "Apart, %"), ("diversity_low", "Apart, from"),
                         ("diversity_high", "Apart, to")):  # fmt: skip
        table[name] = (100 * points[column].astype(float)).round(1).to_numpy()
    return table.assign(**{"In words": points["verdict"].to_numpy()})


# -- quantity and quality --------------------------------------------------------------------------


def quantity(df: pd.DataFrame, *, dark: bool = False) -> Figure:
    """An arm's change by the share of its examples. df: as experiments.quantity_curve()."""
    on, look = palette(dark), LOOKS["own"]
    y = _padded(pd.concat([df["low"], df["high"], pd.Series([0.0])]), 0.06, 0.2)
    sheet = Sheet(280, dark, xaxis=quiet_axis(range=[-0.04, 1.06]), yaxis=quiet_axis(range=list(y)))
    sheet.margin(34, 10, 24, 40)
    spacing = next(s for s in (0.2, 0.5, 1, 2, 5, 10, 20) if (y[1] - y[0]) / s <= 7)
    for tick in np.arange(math.ceil(y[0] / spacing) * spacing, y[1], spacing):
        zero = abs(tick) < 1e-9
        sheet.line((-0.04, 1.06), (tick, tick), colour=on.muted if zero else on.line, layer="below")
        sheet.note("0" if zero else wording.signed(float(tick), 0 if spacing >= 1 else 1), 0,
                   float(tick), xref="paper", xshift=-6, anchor="right", size=11,
                   colour=on.muted)  # fmt: skip
    for share in df["share"]:
        sheet.note(wording.percent(share), share, 0, yref="paper", yshift=-12, anchor="center",
                   size=11, colour=on.muted)  # fmt: skip
    for row in df.itertuples():
        colour = look.colour if row.clear else on.too_small
        if row.high > row.low:
            sheet.line((row.share, row.share), (row.low, row.high), colour=colour, width=2,
                       layer="below")  # fmt: skip
    sheet.trace(
        "scatter", x=df["share"], y=df["change"], mode="lines+markers",
        line={"color": look.colour, "width": 1.6},
        marker={"size": 10, "symbol": "square",
                "color": [look.colour if clear else on.too_small for clear in df["clear"]]},
        hovertemplate=[
            f"<b>{wording.percent(r.share)} of the examples</b><br>{wording.signed(r.change)} "
            "points"
            f"{f', {between}' if (between := wording.interval(r.low, r.high)) else ''}"
            f"<br>{wording.count(round(r.examples), 'example')}<extra></extra>"
            for r in df.itertuples()
        ],
        cliponaxis=False,
    )  # fmt: skip
    sheet.note("points closer to people than before tuning", 0, 1, xref="paper", yref="paper",
               yshift=12, xshift=-34, colour=on.muted, size=11)  # fmt: skip
    sheet.note("<b>Share of the examples →</b>", 0.5, 0, xref="paper", yref="paper", yshift=-32,
               colour=on.ink, anchor="center")  # fmt: skip
    columns = {"examples": "Examples", "score": "Score", "change": "Change", "low": "From",
               "high": "To"}  # fmt: skip
    table = tabled(df, columns)
    table.insert(0, "Share", [wording.percent(share) for share in df["share"]])
    alt = "No share of the examples has been tried yet."
    if len(df):
        last = df.iloc[-1]
        alt = (
            f"Change by the share of the examples taught: {wording.signed(df['change'].iloc[1])} "
            f"points at {wording.percent(df['share'].iloc[1])}, {wording.signed(last['change'])} "
            "at "
            f"{wording.percent(last['share'])}."
        )
    return Figure(sheet.done(), table, alt)


def quality(df: pd.DataFrame, *, dark: bool = False, narrow: bool = False) -> Figure:
    """Which pairs to teach: the change of each choice, recipe by recipe.

    df: as experiments.quality_table(). Pale where the change is too small to call.
    """
    on, look = palette(dark), LOOKS["own"]
    low, high = _reach(df)
    rows: list = []
    for recipe, part in df.groupby("recipe", sort=False):
        rows += [recipe, *part.itertuples()]
    step, head = 30, 40
    height = head + step * max(1, len(rows)) + 6
    left = 150 if narrow else 230
    sheet = Sheet(
        height, dark, xaxis=quiet_axis(range=[low, high]), yaxis=quiet_axis(range=[height, 0])
    )
    sheet.margin(left, 12)
    _change_axis(sheet, low, high, head, height, on)
    for k, row in enumerate(rows):
        y = head + step * (k + 0.5)
        if isinstance(row, str):
            sheet.note(f"<b>{wrapped(plain_text(row), 46)}</b>", 0, y + 4, xref="paper",
                       xshift=-left, colour=on.ink, align="left", bgcolor=on.page)  # fmt: skip
            continue
        colour = look.colour if row.clear else on.too_small
        sheet.note(plain_text(row.title), 0, y, xref="paper", xshift=-left,
                   colour=on.ink if row.clear else on.muted)  # fmt: skip
        if math.isfinite(row.low):
            sheet.line((row.low, row.high), (y, y), colour=colour, width=2, layer="below")
            sheet.trace(
                "scatter", x=[row.change], y=[y], mode="markers",
                marker=_marker("own", row.clear, on), cliponaxis=False,
                hovertemplate=f"<b>{plain_text(row.title)}</b><br>{wording.signed(row.change)} "
                f"points, {wording.interval(row.low, row.high)}{_over_words(row)}<extra></extra>",
            )  # fmt: skip
    columns = {
        "recipe": "Recipe", "title": "Pairs", "examples": "Examples", "score": "Score",
        "change": "Change", "low": "From", "high": "To", "over_random": "Over chance",
        "over_random_low": "Over chance, from", "over_random_high": "Over chance, to",
    }  # fmt: skip
    over = df[df["over_random"].notna()]
    said = [f"{r.title.lower()} {wording.signed(r.over_random)}" for r in over.itertuples()]
    alt = f"Change by which pairs are taught, {wording.count(len(df), 'arm')}"
    alt += f"; against as many by chance: {wording.listed(said)} points." if said else "."
    return Figure(sheet.done(), tabled(df, columns), alt)


def _over_words(row) -> str:
    if not math.isfinite(row.over_random):
        return ""
    said = wording.signed(row.over_random) if row.over_random_clear else "too small to call"
    return f"<br>against as many by chance: {said}"
