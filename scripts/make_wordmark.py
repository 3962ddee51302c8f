"""Draw the name at the top of every page, from the headings' own font, and the tab's icon.

    pip install fonttools brotli
    python scripts/make_wordmark.py

writes static/wordmark-light.svg, static/wordmark-dark.svg and static/favicon.svg. Pictures,
because a heading font cannot be set for the page's header without CSS, and because the icon of a
page would be fetched from the internet.
"""

from pathlib import Path

from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.pens.transformPen import TransformPen
from fontTools.ttLib import TTFont
from fontTools.varLib.instancer import instantiateVariableFont

STATIC = Path(__file__).resolve().parent.parent / "static"
WORD = "Pluriscope"
# The five colours of closeness (core/figures/maps.py), as stripes of a disc.
STRIPES = ("#E6EDAF", "#BFDDB8", "#84C4B5", "#439EA6", "#1F6A8C")
INK = {"light": "#1D2530", "dark": "#E8E6E0"}


def main() -> None:
    font = TTFont(STATIC / "fonts" / "newsreader-latin-opsz-normal.woff2")
    font = instantiateVariableFont(font, {"wght": 500, "opsz": 32})
    glyphs, names = font.getGlyphSet(), font.getBestCmap()
    pen, bounds, at = SVGPathPen(glyphs, lambda value: f"{value:.0f}"), BoundsPen(glyphs), 0.0
    for letter in WORD:
        glyph = glyphs[names[ord(letter)]]
        # SVG counts downwards, fonts upwards.
        glyph.draw(TransformPen(pen, (1, 0, 0, -1, at, 0)))
        glyph.draw(TransformPen(bounds, (1, 0, 0, -1, at, 0)))
        at += glyph.width
    left, top, right, bottom = bounds.bounds
    size = f"{left:.0f} {top:.0f} {right - left:.0f} {bottom - top:.0f}"
    for mode, ink in INK.items():
        (STATIC / f"wordmark-{mode}.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" '
            f'role="img" aria-label="{WORD}"><path fill="{ink}" d="{pen.getCommands()}"/></svg>\n'
        )
    stripes = "".join(
        f'<rect x="{2 + k * 12}" width="12.5" height="64" fill="{colour}"/>'
        for k, colour in enumerate(STRIPES)
    )
    (STATIC / "favicon.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><clipPath id="disc">'
        f'<circle cx="32" cy="32" r="30"/></clipPath>'
        f'<g clip-path="url(#disc)">{stripes}</g></svg>\n'
    )


if __name__ == "__main__":
    main()
