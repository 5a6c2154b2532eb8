"""The list of steps: a line each, as wide as there is room, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip


class StepList(ScrollView, can_focus=True):
    """Lines of which one is chosen.

    Args:
        draw: gives the line of an index, as wide as asked for.
        on_choice: called when somebody has chosen a line; at once, before news choose another.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"chosen"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "move(-1_000_000)", show=False),
        Binding("end,G", "move(1_000_000)", show=False),
    ]

    def __init__(
        self, draw: Callable[[int, int, bool], Text], on_choice: Callable[[], None]
    ) -> None:
        super().__init__(id="steps")
        self._draw_row = draw
        self._on_choice = on_choice
        self._count = 0
        self.chosen = 0

    def show_count(self, count: int) -> None:
        """Set how many lines there are, and draw them anew."""
        if count != self._count:
            self._count = count
            self.virtual_size = Size(0, count)
        self.refresh()

    def choose(self, index: int) -> None:
        """Choose a line, and bring it into view."""
        self.chosen = max(0, min(self._count - 1, index))
        width = max(1, self.size.width)
        self.scroll_to_region(Region(0, self.chosen, width, 1), animate=False, force=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of what is in view."""
        index = y + round(self.scroll_offset.y)
        width = self.size.width
        if index >= self._count:
            return Strip.blank(width, self.rich_style)
        chosen = index == self.chosen
        style = self.get_component_rich_style("chosen") if chosen else self.rich_style
        segments = self._draw_row(index, width, chosen).render(self.app.console)
        return Strip(segments).apply_style(style).adjust_cell_length(width, style)

    def action_move(self, by: int) -> None:
        """Choose another line."""
        self._user_chooses(self.chosen + by)

    def action_page(self, by: int) -> None:
        """Choose a line a page away."""
        self._user_chooses(self.chosen + by * max(1, self.size.height - 1))

    def on_click(self, event: Click) -> None:
        """Choose the line that was clicked."""
        self._user_chooses(event.y + round(self.scroll_offset.y))

    def _user_chooses(self, index: int) -> None:
        self.choose(index)
        self._on_choice()
