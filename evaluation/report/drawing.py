"""Draws figures with matplotlib in the reports' style: into a page as SVG in the page's own colors, or into a file."""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colors on white, by the name of the page's variable for the same color, which is another one in dark mode.
COLORS = {
    "candidate": "#1f5fd6",
    "part": "#7fa6ec",
    "baseline": "#b8620b",
    "other": "#6d747c",
    "bound": "#9aa1a9",
    "bad": "#a8261c",
    "ink": "#1c1e21",
    "soft": "#5b6168",
    "line": "#dfe1e4",
    "grid": "#ebecee",
    "card": "#ffffff",
}
_VARIABLES = {color: f"var(--{name})" for name, color in COLORS.items()}
_XLINK = "{http://www.w3.org/1999/xlink}"
_LONG_NUMBER = re.compile(r"(\d+\.\d)\d+")
_COLOR = re.compile(r"#[0-9a-f]{6}")
# Those of the page, and those without which it looks the same.
_NEEDLESS = re.compile(r"(font-family|font-size: 10px|stroke-linecap|stroke-linejoin)[^;]*;? ?|; stroke-line\w+: \w+$")
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": COLORS["ink"],
    "axes.edgecolor": COLORS["line"],
    "axes.labelcolor": COLORS["soft"],
    "axes.labelsize": 9,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": COLORS["grid"],
    "xtick.color": COLORS["soft"],
    "ytick.color": COLORS["soft"],
    "xtick.bottom": False,
    "ytick.left": False,
}


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def printable(text: str) -> str:
    """The text with spaces for what XML cannot hold."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def inline_svg(draw: Callable[[], "Figure"], description: str) -> Markup:
    """What `draw` draws as an `svg` element for a page with `report.css`.

    It leaves out what the page has: prolog, metadata, styles, fonts and the ground. `description` reads it out.
    """
    stream, description = io.StringIO(), printable(description)
    with _style(description):
        draw().savefig(stream, format="svg", metadata={"Date": None})
    (root,) = _lean(ElementTree.fromstring(stream.getvalue()))
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": description}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def write_file(draw: Callable[[], "Figure"], path: Path) -> None:
    """Writes what `draw` draws on white, as SVG or by the suffix of `path`; the same figure gives the same file."""
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    with _style(path.name):
        draw().savefig(path, metadata=metadata, facecolor=COLORS["card"])


@contextmanager
def _style(salt: str) -> Iterator[None]:
    # Imported here: it takes half a second. The salt keeps the ids of one page's figures apart.
    import matplotlib

    with matplotlib.rc_context(_SETTINGS | {"svg.hashsalt": salt}), warnings.catch_warnings():
        # The reader's browser draws the text, with its own fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def _lean(element: ElementTree.Element) -> list[ElementTree.Element]:
    """An element and all in it as the page needs them: without namespaces, metadata, fonts and groups."""
    tag = element.tag.rpartition("}")[2]
    children = [kept for child in element for kept in _lean(child)]
    if tag in ("metadata", "style", "clipPath") or (tag == "defs" and not children):
        return []
    if element.get("style") == "fill: none":
        return []
    values = {
        name.replace(_XLINK, "xlink:"): _lean_value(name, value)
        for name, value in element.attrib.items()
        if name != "clip-path" and not value.startswith("rotate(-0 ")
    }
    if tag == "g":
        markers = [child for child in children if child.tag == "use"]
        if not markers:
            return children
        # All of a line's markers look the same.
        values = {"style": markers[0].attrib["style"]}
        for marker in markers:
            del marker.attrib["style"]
    lean = ElementTree.Element(tag, values)
    lean.text = element.text if tag == "text" else None
    lean.extend(children)
    return [lean]


def _lean_value(name: str, value: str) -> str:
    if name == "style":
        value = _COLOR.sub(lambda found: _VARIABLES.get(found[0], found[0]), _NEEDLESS.sub("", value))
        return value.replace(": ", ":").replace("; ", ";")
    return _LONG_NUMBER.sub(r"\1", " ".join(value.split())) if name in ("d", "x", "y") else value
