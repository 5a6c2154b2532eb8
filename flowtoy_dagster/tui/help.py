"""What the keys of the page do."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

KEYS = """\
↑ ↓       choose a step; PgUp, PgDn, Home, End too
← →       outputs, state or error, log, chart
Enter     give the whole page to the step
Esc       show the list of steps again
c         cancel the run, and stay
r         run what failed or was skipped again
q         quit; while the run goes on, this asks, and cancels it
Ctrl-C    cancel the run and quit, without a question
?         this list; Esc leaves it"""


class Help(ModalScreen[None]):
    """Lists the keys, over the page."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,space,question_mark", "leave", "Back"),
    ]

    def compose(self) -> ComposeResult:
        """The list."""
        yield Static(KEYS, id="help", markup=False)

    def action_leave(self) -> None:
        """Show the page again."""
        self.dismiss()
