"""Dagster's waiting, measured by a clock that nobody can set."""

from time import monotonic
from time import sleep as pause

from flowtoy_dagster.engine.dagster_private.execution import (
    ActiveExecution,
    InstanceConcurrencyContext,
    active,
    instance_concurrency_context,
)
from flowtoy_dagster.engine.executors.scheduling.rebound import rebound


class _Monotonic:
    """Stands for the module `time` where Dagster measures waits: its `time` can't be set."""

    time = staticmethod(monotonic)
    sleep = staticmethod(pause)


class SteadyExecution(ActiveExecution):
    """Dagster's `ActiveExecution`, whose waits a clock that is set does not change."""

    # Dagster reads the clock in these four methods, among what each of them is for; it takes none.
    _update = rebound(ActiveExecution._update, time=_Monotonic)
    sleep_interval = rebound(ActiveExecution.sleep_interval, time=_Monotonic)
    handle_event = rebound(ActiveExecution.handle_event, time=_Monotonic)
    concurrency_event_iterator = rebound(
        ActiveExecution.concurrency_event_iterator, time=_Monotonic
    )
    assert "time" in vars(active)


class SteadyClaims(InstanceConcurrencyContext):
    """Dagster's waiting for slots of pools, which a clock that is set does not change."""

    # The same: the clock is read in the middle of both, and can't be given.
    claim = rebound(InstanceConcurrencyContext.claim, time=_Monotonic)
    interval_to_next_pending_claim_check = rebound(
        InstanceConcurrencyContext.interval_to_next_pending_claim_check, time=_Monotonic
    )
    assert "time" in vars(instance_concurrency_context)


def waiting_for_pools(claims: InstanceConcurrencyContext | None) -> frozenset[str]:
    """The keys of the steps that wait for slots of pools."""
    return frozenset(claims.pending_claim_steps()) if claims is not None else frozenset()


def give_up_claims(claims: InstanceConcurrencyContext, step_keys: set[str]) -> None:
    """No longer wait for slots of pools: a run that does is never complete."""
    for key in step_keys & claims._pending_claims:
        claims._instance.event_log_storage.free_concurrency_slot_for_step(claims._run_id, key)
        claims._pending_claims.discard(key)
