"""Words of other tools, and what the language calls the same."""

from __future__ import annotations

from collections.abc import Iterator

_CALLED = {
    "allow_redirects": "follow_redirects redirects",
    "as": "var variable loop_var item item_name name",
    "args": "arguments parameters_list argv",
    "bearer": "token access_token",
    "command": "cmd exec script",
    "delay": "wait sleep pause interval retry_delay",
    "concurrency": "parallel parallelism max_parallel max_concurrency max_workers workers threads",
    "continue": "ignore ignored proceed",
    "cwd": "workdir working_directory working_dir directory",
    "depends_on": "needs after requires upstream dependencies",
    "env": "environment environ variables vars secrets",
    "base_page": "page first_page start_page",
    "data_selector": "data_path records_path record_path items_path results_path",
    "every": "interval poll_interval poll wait delay sleep",
    "fail": "abort stop error",
    "for": "max_wait wait_for deadline up_to timeout",
    "flow": "flows steps tasks jobs stages pipeline",
    "for_each": "loop matrix with_items foreach map",
    "headers": "header",
    "in": "items list over values iterate",
    "input": "inputs with",
    "json": "payload",
    "max": "count times limit attempts tries max_attempts max_retries",
    "method": "verb http_method",
    "max_workers": "workers parallelism max_parallel threads",
    "on": "when event events state states if",
    "on_error": "continue_on_error allow_failure",
    "output": "outputs result results",
    "name": "id step task key",
    "paginator": "pagination paginate paging pager",
    "path": "filename file_name file destination target",
    "params": "query query_params querystring qs parameters inputs variables args",
    "rate": "rate_limit ratelimit throttle",
    "retry": "retries attempts",
    "none": "null nil",
    "object": "dict mapping map struct",
    "list": "array tuple sequence",
    "integer": "int long",
    "number": "float double decimal",
    "boolean": "bool flag",
    "string": "str text date datetime varchar path",
    "schedule": "cron schedules on",
    "secret": "sensitive masked",
    "source": "uses provider connector connection type action plugin operator",
    "sources": "connections providers connectors",
    "started_at": "date now today time timestamp start start_time",
    "stdin": "input_text",
    "timeout": "timeout_seconds timeout_minutes",
    "trim": "strip",
    "url": "uri endpoint",
    "urlencode": "urlquote url_encode url_quote quote",
    "verify": "ssl_verify verify_ssl",
    "when": "if condition only_if",
}
_CALLED_BY = {name: frozenset(words.split()) for name, words in _CALLED.items()}


def meanings(word: str) -> Iterator[str]:
    """The names for which other tools have that word."""
    wanted = word.lower().replace("-", "_")
    yield from (name for name, words in _CALLED_BY.items() if wanted in words)
