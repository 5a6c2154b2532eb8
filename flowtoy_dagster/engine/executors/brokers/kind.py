"""What executors need that reach their workers through a broker. No Dagster in here."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from flowtoy_dagster.engine.executors.brokers.outbox import listeners_name, queue_name
from flowtoy_dagster.engine.executors.remote.workers import RemoteKind
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.health import Health, fault_of
from flowtoy_dagster.masking.mask import Mask, deployment_secrets
from flowtoy_dagster.terminal import plain

if TYPE_CHECKING:
    from flowtoy_dagster.engine.executors.brokers.outbox import Sender
    from flowtoy_dagster.engine.executors.remote.database import Database
    from flowtoy_dagster.engine.executors.remote.transport import Transport
    from flowtoy_dagster.engine.sites.site import Site


PART = "broker"
"""What `flowtoy doctor` calls it."""
_ERROR_NUMBER = re.compile(r"\[Errno -?\d+\] ")
"""What the system's errors have before their words."""


class BrokerKind(RemoteKind):
    """Runs steps on any machine that has a worker of the engine and the same database.

    Attributes:
        extra: what is installed for it.
        modules: what that brings.
        variable: the environment variable with the broker's address.
        schemes: what an address may begin with.
        example: an address.
    """

    extra: ClassVar[str]
    modules: ClassVar[tuple[str, ...]]
    variable: ClassVar[str]
    schemes: ClassVar[tuple[str, ...]]
    example: ClassVar[str]

    def open_sender(self) -> Sender:
        """Connect to the broker; raises what its client raises."""
        raise NotImplementedError

    def transport(self, database: Database, site: Site) -> Transport:
        """The broker, as a run sees it."""
        from flowtoy_dagster.engine.executors.brokers.deployment import Deployment, deployment_of
        from flowtoy_dagster.engine.executors.brokers.outbox import Outbox

        deployment = Deployment(deployment_of(database), site.route)
        return Outbox(self.name, self.variable, deployment.name, self.open_sender)

    def address(self) -> str:
        """The broker's address.

        Raises:
            HomeError: it is not set, or is none.
        """
        address = os.environ.get(self.variable)
        if not address:
            raise HomeError(
                f"the executor '{self.name}' needs the address of its broker, and "
                f"{self.variable} is not set\n    set {self.variable} to {self.example}"
            )
        schemes = {one.partition("://")[0] for one in address.split(";")}
        if not schemes <= set(self.schemes) or "://" not in address:
            # What it is may hold a password.
            listed = ", ".join(f"{scheme}://" for scheme in self.schemes)
            raise HomeError(
                f"{self.variable} is not the address of a broker\n"
                f"    it looks like {self.example}, and begins with one of {listed}"
            )
        return address

    def examine(self, *, is_wanted: bool) -> Iterable[Health]:
        """Whether the broker answers, and which workers take steps."""
        if not (is_wanted or os.environ.get(self.variable)):
            yield Health(PART, "off", f"{self.variable} is not set")
            return
        yield self._answer()

        from flowtoy_dagster.engine.executors.remote.needs import LEASE
        from flowtoy_dagster.engine.health.workers import examine_workers

        # With the address of a broker, its workers are wanted: a flow may name the executor.
        yield from examine_workers(listeners_name(self.name, ""), LEASE, is_wanted=True)

    def _answer(self) -> Health:
        try:
            self.check_extra()
            self.address()
            self.open_sender().close()
        except HomeError as error:
            return fault_of(PART, error)
        except Exception as error:  # noqa: BLE001 - clients of brokers raise many kinds
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            reason = _ERROR_NUMBER.sub("", reason)
            hidden = plain(Mask(deployment_secrets(os.environ)).text(reason))
            text = f"the broker that {self.variable} names does not answer: {hidden}"
            return Health(PART, "fault", text, f"start it, or correct {self.variable}")
        return Health(PART, "ok", f"the broker that {self.variable} names answers{_whose()}")

    def check_home(self) -> None:
        """See that the extra is installed, the broker's address is set, and the history shared.

        Raises:
            HomeError: it is not so.
        """
        self.check_extra()
        self.address()
        super().check_home()

    def check_extra(self) -> None:
        """See that the extra is installed.

        Raises:
            HomeError: it is not.
        """
        if not all(map(importlib.util.find_spec, self.modules)):
            raise HomeError(
                f"the executor '{self.name}' needs packages that are not installed\n"
                f"    pip install 'flowtoy-dagster[{self.extra},postgres]'"
            )


def _whose() -> str:
    """Which queues of the broker are this deployment's, where that is known."""
    from flowtoy_dagster.engine.storage.address import is_supported

    if not is_supported():
        return ""
    from flowtoy_dagster.engine.executors.brokers.deployment import known_deployment

    known = known_deployment()
    return f"; this deployment's queues are {queue_name(known.name, '*')}" if known else ""
