"""One plot: matplotlib axes on the way in, a `<figure>` with inline SVG and legend on the way out.

A panel is as wide as a telephone's screen wants it; wide pages set two side by side.
"""

import html
import io
import math
import re
from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from scaling.report.markup import Html, element, join, number
from scaling.report.palette import reserved, variable, with_variables

WIDTH, HEIGHT = 430, 325  # SVG units; texts are 11 to 12 of them
# decades up to which an axis has labels at these multiples of powers of ten
_TICKS = ((0.8, (1, 2, 3, 4, 6)), (1.6, (1, 2, 5)), (3.0, (1, 3)), (math.inf, (1,)))
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "scaling",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "text.parse_math": False,
    **{name: reserved("axis") for name in ("axes.edgecolor", "xtick.color", "ytick.color")},
    **{name: reserved("ink") for name in ("xtick.labelcolor", "ytick.labelcolor", "text.color")},
    "axes.labelcolor": reserved("muted"),
    "grid.color": reserved("grid"),
    "grid.linewidth": 0.8,
}


class Panel:
    """Axes and what the page needs around them.

    Colours are names of `palette`. Every mark may carry a tooltip, plain text.
    """

    def __init__(self, name: str, x_label: str, y_label: str, height: int = HEIGHT) -> None:
        self._name = name
        self._tips: list[str] = []
        self._legend: list[Html] = []
        with matplotlib.rc_context(_STYLE):
            self._figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
            self.axes = self._figure.add_subplot()
            self.axes.grid(True)
            self.axes.set_xlabel(x_label)
            self.axes.set_ylabel(y_label)

    def log_x(self, values: Sequence[float], write: Callable[[float], str]) -> None:
        """A log axis around positive values, its ticks written by `write`."""
        self.axes.set_xscale("log")
        self.axes.set_xlim(*_around(values))
        _log_ticks(self.axes.xaxis, write)

    def log_y(self, values: Sequence[float], write: Callable[[float], str]) -> None:
        self.axes.set_yscale("log")
        self.axes.set_ylim(*_around(values))
        _log_ticks(self.axes.yaxis, write)

    def line(self, x, y, colour: str, dashed: bool = False, width: float = 1.8, **more) -> None:
        self.axes.plot(x, y, color=reserved(colour), lw=width, ls=(0, (5, 3)) if dashed else "-",
                       solid_capstyle="round", **more)

    def band(self, x, low, high, colour: str) -> None:
        self.axes.fill_between(x, low, high, color=reserved(colour), alpha=0.16, lw=0)

    def point(self, x, y, colour: str, tip: str = "", marker: str = "o", size: float = 6.5,
              hollow: bool = False, **more) -> None:
        """One mark, outlined in the surface's colour so that neighbours stay apart."""
        self.axes.plot(
            [x], [y], ls="none", marker=marker, ms=size,
            mfc="none" if hollow else reserved(colour),
            mec=reserved(colour if hollow else "surface"), mew=1.5 if hollow else 0.9,
            gid=self._tip(tip), **{"zorder": 3, **more},
        )

    def error_bar(self, x, y, bounds, colour: str, tip: str = "", across: bool = False) -> None:
        """An interval with caps; `across`: along x."""
        low, high = bounds
        value = [[(x if across else y) - low], [high - (x if across else y)]]
        self.axes.errorbar(
            x, y, **{"xerr" if across else "yerr": value}, fmt="none", color=reserved(colour),
            elinewidth=2.0, capsize=5, capthick=2.0, zorder=4,
        )
        self.point(x, y, colour, tip, marker="D", size=7.5, zorder=5)

    def label(self, x, y, text: str) -> None:
        """A word above a point."""
        self.axes.annotate(text, (x, y), (0, 6), textcoords="offset points", ha="center",
                           color=reserved("muted"), fontsize=10)

    def key(self, kind: str, colour: str, text: str) -> None:
        """A line of the legend; kind: line, dash, band, dot, ring, diamond, bar."""
        swatch = element("span", class_=f"key {kind}", style=f"--c:{variable(colour)}")
        self._legend.append(element("li", swatch, element("span", number(text))))

    def figure(self, title: str, *caption: str) -> Html:
        """The finished `<figure>`."""
        stream = io.StringIO()
        with matplotlib.rc_context(_STYLE):
            self._figure.savefig(
                stream, format="svg", transparent=True,
                metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
            )
        legend = element("ul", *self._legend, class_="legend") if self._legend else None
        return element(
            "figure",
            element("h3", title),
            legend,
            Html(self._inline(stream.getvalue(), title)),
            element("figcaption", join(*caption, by=" ")) if caption else None,
        )

    def _tip(self, text: str) -> str | None:
        if not text:
            return None
        self._tips.append(text)
        return f"tip-{len(self._tips) - 1}"

    def _inline(self, svg: str, title: str) -> str:
        svg = svg[svg.index("<svg"):]
        svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.S)
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
        svg = re.sub(r'font-family: [^;"]*(; )?', "", svg)
        svg = re.sub(r'font: ([\d.]+px) [^;"]*', r"font-size: \1", svg)
        svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)
        svg = re.sub(r"\^\{([^}]*)\}([^<^]*)", _raised, svg)
        svg = re.sub(r"-?\d+\.\d{4,}", lambda m: f"{float(m[0]):.2f}", svg)
        svg = re.sub(
            r'<g id="tip-(\d+)">',
            lambda m: f'<g class="tip"><title>{html.escape(self._tips[int(m[1])])}</title>', svg,
        )
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
        svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", svg)
        svg = re.sub(r'( id="| xlink:href="#|url\(#)', rf"\g<1>{self._name}-", svg)
        svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
        svg = svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)
        return with_variables(re.sub(r"\n\s*", "\n", svg))


def _raised(match: re.Match) -> str:
    """A superscript, and the line again after it (0.30 em of the text, 0.42 of the small one)."""
    small = f'<tspan dy="-0.42em" font-size="72%">{match[1]}</tspan>'
    return small + (f'<tspan dy="0.30em">{match[2]}</tspan>' if match[2] else "")


def grid(*figures: Html | None) -> Html:
    """Panels side by side where there is room."""
    return element("div", *(f for f in figures if f is not None), class_="panels")


def _around(values: Sequence[float]) -> tuple[float, float]:
    margin = max(1.12, (max(values) / min(values)) ** 0.06)
    return min(values) / margin, max(values) * margin


def _log_ticks(axis, write: Callable[[float], str]) -> None:
    """Fewer labels over a longer range; unlabelled ticks between."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    steps = next(s for reach, s in _TICKS if decades < reach)
    axis.set_major_locator(LogLocator(base=10, subs=steps, numticks=12))
    axis.set_minor_locator(LogLocator(base=10, subs=tuple(range(1, 10)), numticks=100))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_minor_formatter(NullFormatter())
