"""What becomes of a chart's colours on a dark page, where a strong colour is a bright one."""

from mlframework.visualise import style

_DARK_VALUES = ((0.0, "#1B3A57"), (0.35, "#2C6EA6"), (0.7, "#5FB0EA"), (1.0, "#E3F2FF"))
_DARK_TIME = ((0.0, "#24506F"), (0.5, "#4C9FDB"), (1.0, "#E3F2FF"))

DARK = {
    style.BLUE: "#5AA9E6",
    style.VERMILLION: "#FF8F4D",
    style.GREEN: "#35C99B",
    style.GREY: "#838B94",
    style.FAINT: "#3A414A",
    style.INK: "#E6E9ED",
    style.GRID: "#272D35",
    "white": "#171B21",
    "#5F6368": "#A9B0B8",
    "#80868B": "#9AA1A9",
    "#000000": "#FFFFFF",
    "rgba(255,255,255,0.85)": "rgba(23,27,33,0.85)",
    **{light: dark for (_, light), (_, dark) in zip(style.VALUES, _DARK_VALUES, strict=True)},
    **{light: dark for (_, light), (_, dark) in zip(style.TIME, _DARK_TIME, strict=True)},
}
"""Colour in a figure to the one that it has on a dark page."""
