"""What charts and the timeline share: axes that stand still beside a picture that zooms and scrolls."""

from __future__ import annotations

from deeprc.report.markup import Html, Node, element


def zoom_buttons() -> list[Html]:
    """The page's script brings them to life."""
    return [
        element("button", "−", type="button", data_zoom="out", aria_label="Zoom out", disabled=True),
        element("button", "+", type="button", data_zoom="in", aria_label="Zoom in"),
    ]


def frame(axis: Node, picture: Node, *, label: str) -> Html:
    """`axis` at the left; `picture` scrolls in its own box; the readout is shown over both."""
    viewport = element(
        "div",
        element("div", picture, class_="stretch"),
        class_="viewport",
        tabindex=0,
        role="group",
        aria_label=label,
    )
    return element("div", axis, viewport, element("div", class_="readout", hidden=True), class_="plots")


def spoken() -> Html:
    """Where the script writes what a screen reader is to say."""
    return element("p", class_="spoken", aria_live="polite")
