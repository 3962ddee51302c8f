"""Figures of tuning: training curves, how many pairs differ, arms compared. See core/figures.py."""

from __future__ import annotations

import math
import textwrap

import numpy as np
import pandas as pd

from core import words
from core.figures import (
    CATEGORIES,
    CLOSENESS,
    SERIES,
    Figure,
    Sheet,
    ink_of,
    palette,
    plain_text,
    quiet_axis,
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
        yaxis2={**_side_axis(on), "domain": [0, 0.22], "rangemode": "tozero", "nticks": 2},
    )
    sheet.margin(56, 8, 22, 34)
    for iso3, one in points.groupby("iso3", sort=False):
        line = {"color": SERIES["tuned"].colour, "width": 1.2 if several else 2}
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
    for text, y in (("Loss", 1.0), ("Learning rate", 0.24)):
        sheet.note(text, 0, y, xref="paper", yref="paper", yanchor="bottom", xshift=-56,
                   colour=on.muted, size=12)  # fmt: skip
    first, last = points["loss"].iloc[0], points["loss"].iloc[-1]
    table = points[["iso3", "step", "loss", "rate"]].rename(
        columns={"iso3": "Country", "step": "Step", "loss": "Loss", "rate": "Learning rate"}
    )
    alt = (
        f"Loss by step, from {words.number(first, 3)} at first to {words.number(last, 3)} at step "
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
    step = 24
    sheet = Sheet(
        step * len(topics) + 128,
        dark,
        xaxis={**quiet_axis(), "visible": True, "showgrid": False, "side": "top",
               "showticklabels": not narrow or len(names) <= 8, "tickangle": -60,
               "tickfont": {"size": 11, "color": on.ink}},
        yaxis={**quiet_axis(), "visible": True, "showgrid": False, "autorange": "reversed",
               "showticklabels": True, "tickfont": {"size": 11, "color": on.ink}},
    )  # fmt: skip
    sheet.margin(128 if narrow else 270, 34, 96, 26)
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
    sheet.note(f"0 % {swatches} 100 % of the pairs differ", 0, 0, xref="paper", yref="paper",
               yanchor="top", yshift=-6, colour=on.muted)  # fmt: skip
    table = (
        df.assign(share=(100 * df["share"]).round(1))
        .rename(columns={"name": "Country", "topic": "Topic", "pairs": "Pairs",
                         "differing": "Differ", "share": "Differ, %"})
        [["Country", "Topic", "Pairs", "Differ", "Differ, %"]]
    )  # fmt: skip
    total = df["differing"].sum() / max(df["pairs"].sum(), 1)
    alt = (
        f"Share of pairs that differ by topic and country: {words.percent(total)} on average, "
        f"most for {names[0]}, fewest for {names[-1]}."
    )
    return Figure(sheet.done(), table.reset_index(drop=True), alt)


def arm_colour(arm: str, human: bool) -> str:
    """Base and better prompt keep their methods' colours; arms on people's answers their own."""
    if arm == "base":
        return SERIES["country"].colour
    if arm == "better_prompt":
        return SERIES["cross_culture"].colour
    return CATEGORIES[0] if human else SERIES["tuned"].colour


def arm_dots(df: pd.DataFrame, *, label: str, dark: bool = False, narrow: bool = False) -> Figure:
    """Each arm's change against the base with its interval; pale where too small to call.

    df: as experiments.arms_table, without the base.
    """
    on = palette(dark)
    df = df[df["change"].notna()].sort_values("change", ascending=False, kind="stable")
    reach = max(float(np.nanmax(np.abs(df[["low", "high"]].to_numpy()))), 1.0) * 1.08
    step = 54 if narrow else 36
    head = 30
    height = head + step * len(df) + 8
    gutter = 0 if narrow else 330
    sheet = Sheet(
        height, dark, xaxis=quiet_axis(range=[-reach, reach]), yaxis=quiet_axis(range=[height, 0])
    )
    sheet.margin(gutter, 8)
    sheet.line((0, 0), (head - 6, height - 4), colour=on.muted, width=1)
    sheet.note("further from people", -reach, 10, colour=on.muted)
    sheet.note("closer to people", reach, 10, colour=on.muted, anchor="right")
    for k, row in enumerate(df.itertuples()):
        y = head + step * (k + 0.5) + (8 if narrow else 0)
        colour = arm_colour(row.arm, row.human) if row.clear else on.too_small
        sheet.line((row.low, row.high), (y, y), colour=colour, width=2)
        sheet.trace(
            "scatter", x=[row.change], y=[y], mode="markers",
            marker={"size": 11, "color": colour, "symbol": "square",
                    "line": {"color": on.page, "width": 1.5}},
            hovertemplate=f"{plain_text(row.title)}<br>{words.signed(row.change)} points "
            f"({words.interval(row.low, row.high)})<br>{plain_text(row.verdict)}<extra></extra>",
        )  # fmt: skip
        text = plain_text(textwrap.shorten(row.title, 58, placeholder="…"))
        ink = on.ink if row.clear else on.muted
        if narrow:
            sheet.note(text, -reach, y - 20, colour=ink, size=11)
        else:
            sheet.note(wrapped(text, 48), 0, y, xref="paper", xshift=-gutter, colour=ink)
    table = df[
        ["title", "score", "change", "low", "high", "diversity", "seeds", "examples", "verdict"]
    ].rename(
        columns={"title": "Arm", "score": label, "change": "Change", "low": "From", "high": "To",
                 "diversity": "Diversity", "seeds": "Seeds", "examples": "Examples",
                 "verdict": "In words"}
    ).round({label: 1, "Change": 1, "From": 1, "To": 1, "Diversity": 2, "Examples": 0})  # fmt: skip
    best = df.iloc[0]
    alt = (
        f"Change of {len(df)} arms against the model before tuning; the highest is "
        f"{best['title']} with {words.signed(best['change'])} points."
    )
    return Figure(sheet.done(), table.reset_index(drop=True), alt)


def arms_diversity(
    df: pd.DataFrame, ceiling: float, *, label: str, dark: bool = False, narrow: bool = False
) -> Figure:
    """Closeness against diversity: people, the base, and an arrow from it to every arm.

    df: as experiments.arms_table, with the base. ceiling: where people stand.
    """
    on = palette(dark)
    df = df[df["score"].notna() & df["diversity"].notna()]
    people = pd.DataFrame({"score": [ceiling], "diversity": [1.0]})
    every = pd.concat([df[["score", "diversity"]], people])
    pad_x = max(0.06, 0.12 * float(np.ptp(every["diversity"])))
    pad_y = max(0.8, 0.12 * float(np.ptp(every["score"].dropna())))
    sheet = Sheet(
        420,
        dark,
        xaxis={**_side_axis(on), "tickformat": ".0%",
               "range": [every["diversity"].min() - pad_x, every["diversity"].max() + pad_x],
               "title": {"text": "how far countries lie apart, people’s distance being 100 %",
                         "font": {"size": 11, "color": on.muted}}},
        yaxis={**_side_axis(on), "nticks": 6,
               "range": [every["score"].min() - pad_y, every["score"].max() + pad_y]},
    )  # fmt: skip
    sheet.margin(44, 12, 24, 48)
    sheet.note(plain_text(label), 0, 1, xref="paper", yref="paper", yanchor="bottom", xshift=-44,
               colour=on.muted)  # fmt: skip
    base = df[df["arm"].eq("base")]
    for row in df.itertuples():
        colour = arm_colour(row.arm, row.human)
        if row.arm != "base" and len(base):
            sheet.line(
                (base["diversity"].iloc[0], row.diversity), (base["score"].iloc[0], row.score),
                colour=colour, width=1, opacity=0.5,
            )  # fmt: skip
        sheet.trace(
            "scatter", x=[row.diversity], y=[row.score], mode="markers",
            marker={"size": 13 if row.arm == "base" else 11, "color": colour,
                    "symbol": "diamond" if row.arm == "base" else "square",
                    "line": {"color": on.page, "width": 1.5}},
            hovertemplate=f"{plain_text(row.title)}<br>{words.number(row.score)} of 100<br>"
            f"countries {words.percent(row.diversity)} as far apart as people"
            "<extra></extra>",
        )  # fmt: skip
    if len(base):
        sheet.note("before tuning", base["diversity"].iloc[0], base["score"].iloc[0], yshift=-16,
                   anchor="center", colour=ink_of("country", dark), size=11)  # fmt: skip
    if math.isfinite(ceiling):
        sheet.trace(
            "scatter", x=[1.0], y=[ceiling], mode="markers",
            marker={"size": 12, "color": on.people, "symbol": "circle"},
            hovertemplate="People: another sample of the same people<extra></extra>",
        )  # fmt: skip
        sheet.note("people", 1.0, ceiling, yshift=14, anchor="center", colour=on.ink, size=11)
    table = df[["title", "score", "diversity", "verdict"]].rename(
        columns={"title": "Arm", "score": label, "diversity": "Diversity", "verdict": "In words"}
    ).round({label: 1, "Diversity": 2})  # fmt: skip
    alt = f"Closeness to people against diversity for {len(df)} arms and for people."
    return Figure(sheet.done(), table.reset_index(drop=True), alt)


def quantity(df: pd.DataFrame, *, dark: bool = False) -> Figure:
    """An arm's change by the share of its examples. df: as experiments.quantity_curve."""
    on = palette(dark)
    colour = SERIES["tuned"].colour
    sheet = Sheet(
        260,
        dark,
        xaxis={**_side_axis(on), "tickformat": ".0%", "range": [0, 1.05], "showgrid": False,
               "title": {"text": "of the examples", "font": {"size": 11, "color": on.muted}}},
        yaxis={**_side_axis(on), "zeroline": True, "zerolinecolor": on.muted},
    )  # fmt: skip
    sheet.margin(44, 8, 22, 44)
    sheet.note("points closer to people", 0, 1, xref="paper", yref="paper", yanchor="bottom",
               xshift=-44, colour=on.muted)  # fmt: skip
    sheet.trace(
        "scatter", x=df["share"], y=df["change"], mode="lines+markers",
        line={"color": colour, "width": 2}, marker={"size": 9, "symbol": "square"},
        error_y={"type": "data", "symmetric": False, "array": df["high"] - df["change"],
                 "arrayminus": df["change"] - df["low"], "color": colour, "thickness": 1.2},
        hovertemplate="%{x:.0%} of the examples: %{y:+.1f} points<extra></extra>",
    )  # fmt: skip
    table = df.rename(
        columns={"share": "Share", "examples": "Examples", "change": "Change", "low": "From",
                 "high": "To"}
    ).round(2)  # fmt: skip
    alt = "Change against the model before tuning by the share of the examples taught."
    return Figure(sheet.done(), table, alt)
