"""The Celery application of runs and of workers: messages alone, no results."""

from __future__ import annotations

from typing import Any

from celery import Celery

EXECUTOR = "celery"
TASK = "flowtoy.step"
CONNECT_TIMEOUT = 4.0
"""Seconds in which a broker must answer."""
SILENCE = 10.0
"""Seconds of silence after which a connection to a broker is made anew."""
_SETTINGS: dict[str, Any] = {
    "broker_connection_max_retries": None,
    "broker_connection_retry_on_startup": True,
    "broker_connection_timeout": CONNECT_TIMEOUT,
    # RabbitMQ closes the channel of a worker whose step takes longer than its `consumer_timeout`,
    # which is 30 minutes. The message comes again, and is dropped: its step has been claimed.
    # Other reasons to close a channel end the worker: see `SteadyConsumer`.
    "broker_channel_error_retry": True,
    # A step goes on while its worker has no connection: Celery 6 would cancel it.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "result_backend": None,
    "task_ignore_result": True,
    # Acknowledged when the step has ended: what a lost worker had is delivered to another.
    "task_acks_late": True,
    "worker_prefetch_multiplier": 1,
    # Else a thread of the pool would ask the broker for more after a lost connection, and read the
    # answers that the loop of the worker waits for: it would wait until the broker gives it up.
    "worker_enable_prefetch_count_reduction": False,
    # Steps run in processes of the agent; a thread of the pool waits for each.
    "worker_pool": "threads",
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "task_serializer": "json",
    "accept_content": ["json"],
}


_REDIS: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_TIMEOUT,
    "socket_keepalive": True,
    "socket_timeout": SILENCE,
    "health_check_interval": SILENCE / 2,
}
"""How long Redis may be silent. A connection through a proxy or a firewall that passes nothing on
any more looks sound, for ever."""
_RABBITMQ: dict[str, Any] = {
    # RabbitMQ tells that it has a message; without, one is lost where the connection breaks.
    "confirm_publish": True,
}


def make_app(address: str) -> Celery:
    """An application that knows the broker, and no task yet."""
    # One that became the process's own would be in the way of an application that a step uses.
    app = Celery("flowtoy", broker=address, set_as_current=False)
    app.conf.update(_SETTINGS)
    is_rabbitmq = address.startswith("amqp")
    app.conf.broker_transport_options = _RABBITMQ if is_rabbitmq else _REDIS
    # RabbitMQ and its client tell each other that they are there; Redis is asked instead.
    app.conf.broker_heartbeat = SILENCE if is_rabbitmq else None
    return app
