"""HTTP requests (language 11.2)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.schema.fields import (
    Templated,
    Text,
    Timeout,
    Whole,
)
from flowtoy_dagster.flow.templates.names import ANSWER_NAMES, PAGE_NAMES
from flowtoy_dagster.json_text import JsonError
from flowtoy_dagster.providers.base import CallContext, Headers, ProviderResult, bounded
from flowtoy_dagster.providers.kind import ProviderKind, ResultView, Suggestion
from flowtoy_dagster.providers.rest.actions import ResponseAction, action_for
from flowtoy_dagster.providers.rest.auth.base import Auth, Credentials
from flowtoy_dagster.providers.rest.auth.grants import TOKEN_NAMES
from flowtoy_dagster.providers.rest.auth.kinds import AUTH_FORMS, ShortAuth, auth_of
from flowtoy_dagster.providers.rest.auth.tokens import TokenError
from flowtoy_dagster.providers.rest.bodies.answers import RestAnswer, exchanged, with_page
from flowtoy_dagster.providers.rest.bodies.contents import (
    METHODS,
    RequestContents,
    contents_of,
    replaced,
)
from flowtoy_dagster.providers.rest.bodies.cookies import Cookies
from flowtoy_dagster.providers.rest.bodies.decode import BodyError, Codings, parsed, unpacked
from flowtoy_dagster.providers.rest.bodies.fields import (
    json_findings,
    one_or_more,
    path_or_pair,
    proxy_or_none,
    switch_or_path,
)
from flowtoy_dagster.providers.rest.bodies.local_files import below
from flowtoy_dagster.providers.rest.choice import forms_of, one_of
from flowtoy_dagster.providers.rest.content import (
    Answer,
    Call,
    UnsendableError,
    answer_data,
    status_note,
)
from flowtoy_dagster.providers.rest.idempotency import why_not_repeated, with_key
from flowtoy_dagster.providers.rest.pages.expressions import bound
from flowtoy_dagster.providers.rest.pages.links import Hosts
from flowtoy_dagster.providers.rest.pages.pages import PageRequest, Paginator
from flowtoy_dagster.providers.rest.pages.paginators import PAGINATORS
from flowtoy_dagster.providers.rest.pages.paths import JmesPath, PageError
from flowtoy_dagster.providers.rest.pages.reading import Reader
from flowtoy_dagster.providers.rest.pages.selection import Selector
from flowtoy_dagster.providers.rest.pages.suggest import suggest
from flowtoy_dagster.providers.rest.pages.whole_body import WholeBody
from flowtoy_dagster.providers.rest.sending import (
    Exchange,
    Turn,
    token_failure,
    token_source,
    trace_headers,
    without_credentials,
    without_tokens,
)
from flowtoy_dagster.providers.rest.urls import cut, join, shown, url_findings, without_user

_NO_URL = "a rest call needs a 'url' or a 'base_url'"


Status = Annotated[Whole, Field(ge=100, le=599)]
Statuses = Annotated[tuple[Templated[Status], ...], BeforeValidator(one_or_more)]
class RestConfiguration(RequestContents):
    """What a call needs; the keys of language 11.2.

    Attributes:
        url: where to call; with base_url a path.
        base_url: put before a url without a scheme.
        auth: {basic: …}, {bearer: token}, or a mapping with a type.
        timeout: for the whole call.
        verify: whether to check certificates, or the file of those to trust.
        cert: the client's certificate, or it and its key.
        allow_redirects: whether to follow redirects.
        expect: which statuses are a success; by default 200 to 299.
        max_response_bytes: the most that an answer's body may have.
        decode: what the body of a success is.
        proxy: the HTTP proxy; false uses none.
        cookies: whether to send cookies again within one call.
        paginator: how to read all pages.
        data_selector: where the records of a page are, in JMESPath.
        idempotent: whether a POST or PATCH may be sent twice.
        idempotency_key: whether to send Idempotency-Key.
        response_actions: what to make of some answers.
        hosts: other hosts that links to pages may lead to.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    url: Templated[Text] | None = None
    base_url: Templated[Text] | None = None
    auth: Annotated[
        ShortAuth | Auth | None, PlainValidator(auth_of, json_schema_input_type=AUTH_FORMS)
    ] = None
    timeout: Templated[Timeout] = 30.0
    verify: Templated[Annotated[bool | str, BeforeValidator(switch_or_path)]] = True
    cert: Templated[Annotated[str | tuple[str, str], BeforeValidator(path_or_pair)]] | None = None
    allow_redirects: Templated[bool] = True
    expect: Templated[Statuses] | None = None
    max_response_bytes: Templated[Annotated[Whole, Field(gt=0)]] = 256 * 1024 * 1024
    paginator: Annotated[
        Paginator | None,
        PlainValidator(
            one_of(PAGINATORS, "paginator"),
            json_schema_input_type=forms_of(PAGINATORS, by_name=True),
        ),
    ] = None
    data_selector: Templated[JmesPath] | None = None
    hosts: Templated[Hosts] = ()
    response_actions: Templated[tuple[ResponseAction, ...]] = ()
    idempotent: Templated[bool] = False
    idempotency_key: Templated[bool] = False
    decode: Templated[Codings] | None = None
    proxy: Annotated[Any, BeforeValidator(proxy_or_none)] = None
    cookies: Templated[bool] = False


class RestProvider:
    """Calls a URL; gives the JSON of the answer, or its text."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.configuration = RestConfiguration.model_validate(configuration)
        self._own_id = uuid.uuid4().hex
        self._cookies: Cookies | None = None

    def call(
        self, input_payload: Any = None, context: CallContext | None = None
    ) -> dict[str, Any]:
        """Make the call, or one for each page; what goes wrong is a failed result."""
        self.configuration = below(self.configuration, context.folder if context else None)
        settings = self.configuration
        url = join(settings.base_url, settings.url)
        if settings.cookies:
            self._cookies = Cookies(
                lambda values: context.mask.learn(values, keep=False) if context else None
            )
        if not url:
            return _failed(_NO_URL).as_returned()
        if settings.paginator is None and settings.data_selector is None:
            whole = self._whole_body(context)
            return self._fetch(url, input_payload, context, PageRequest(), whole).as_returned()
        reader = Reader(
            settings.paginator,
            Selector(settings.data_selector),
            lambda request, now: self._fetch(url, input_payload, now, request),
            url,
            settings.hosts,
            context,
        )
        return reader.read().as_returned()

    def _fetch(
        self,
        url: str,
        payload: Any,
        context: CallContext | None,
        request: PageRequest,
        whole: WholeBody | None = None,
    ) -> ProviderResult:
        """Make one request; `whole` takes its body where it is all that the call reads."""
        # Checking a configuration must not wait for requests to be imported.
        from flowtoy_dagster.providers.rest.network.errors import TIMED_OUT, NoAnswerError

        settings = self.configuration
        hide = context.mask.text if context else str
        now = Turn(context)
        try:
            make = self._call_maker(url, payload, now, request, whole)
            tokens = token_source(settings, context, self._cookies)
            exchange = Exchange(settings.auth, tokens, make, hide)
            answer = self._answer(exchange, now, request, url)
        except NoAnswerError as error:
            # A step's `retry.on` distinguishes failures by this.
            kind = "timeout" if str(error).startswith(TIMED_OUT) else "connection"
            return _failed(str(error), {"failure": kind, "sent": error.sent})
        except TokenError as error:
            note, code, meta = token_failure(error)
            return replace(_failed(note, meta), code=code)
        except (PageError, TemplateError, UnicodeError, UnsendableError) as error:
            sent = isinstance(error, UnsendableError) and error.sent
            return _failed(f"the request can't be sent: {error}", {"sent": sent})
        try:
            result = self._result(answer, context)
        except PageError as error:
            result = _failed(str(error), {"retryable": False})
        if whole is not None and result.success:
            whole.take_rest(answer)
        return without_tokens(result, exchange.credentials.tokens, answer.body)

    def _call_maker(
        self, url: str, payload: Any, now: Turn, request: PageRequest, whole: WholeBody | None
    ) -> Callable[[Credentials], Call]:
        """What makes the call with credentials; raises where it can't be sent."""
        settings = self.configuration
        params, written, body = contents_of(settings, payload, request)
        first_url, of_url = without_credentials(url, now.context)
        place = request.url or first_url
        if settings.idempotency_key:
            written = with_key(written, self._call_id(now.context), request.number)

        def make(credentials: Credentials) -> Call:
            return Call(
                method=settings.method,
                url=place,
                label=cut(shown(place, now.text)),
                params=replaced(params, credentials.params_for(place)),
                headers=credentials.added_to(written),
                body=body,
                authorization=credentials.authorization or (None if settings.auth else of_url),
                timeout=bounded(settings.timeout, now.context),
                verify=settings.verify,
                cert=settings.cert,
                allow_redirects=settings.allow_redirects,
                max_bytes=whole.max_bytes if whole else settings.max_response_bytes,
                body_to=whole.body_to if whole else None,
                sign=credentials.sign,
                proxy=settings.proxy,
                cookies=self._cookies,
                trace=trace_headers(),
            )

        return make

    def _answer(self, exchange: Exchange, now: Turn, request: PageRequest, url: str) -> Answer:
        def make() -> Answer:
            return exchange.answer(self._is_expected, now.take_next)

        if now.context is None or now.context.exchanges is None:
            return make()
        return exchanged(now.context, request, request.url or url, make)

    def _is_expected(self, status: int) -> bool:
        expected = self.configuration.expect
        return status in expected if expected else 200 <= status < 300

    def _whole_body(self, context: CallContext | None) -> WholeBody | None:
        """What hands the body on; None where nothing takes it as it is."""
        parts, settings = context.parts if context is not None else None, self.configuration
        if parts is None or not parts.takes_body:
            return None
        most = settings.max_response_bytes
        is_given = "max_response_bytes" in settings.model_fields_set
        statuses = settings.expect or range(200, 300)
        judged = bool(settings.response_actions) or settings.decode is not None
        judged = judged or (context is not None and context.exchanges is not None)
        return WholeBody(parts, statuses, judged, None if not is_given else most, most)

    def _call_id(self, context: CallContext | None) -> str:
        return context.call_id if context is not None else self._own_id

    def _result(self, answer: Answer, context: CallContext | None) -> ProviderResult:
        success = self._is_expected(answer.status)
        notes = () if success else (status_note(answer.status, answer.text, context),)
        try:
            answer, data = self._decoded(answer) if success else (answer, answer_data(answer))
        except (BodyError, JsonError) as error:
            data = answer.text
            if success:
                success = False
                is_json = isinstance(error, JsonError)
                notes = (f"{'the answer says it is JSON but is not: ' if is_json else ''}{error}",)
        body = answer.text
        meta = {
            "status_code": answer.status,
            "headers": answer.headers,
            "elapsed": answer.elapsed,
            "url": without_user(answer.url),
        }
        result = ProviderResult(success, answer.status, notes, data, meta)
        return self._acted(result, body, context)

    def _decoded(self, answer: Answer) -> tuple[Answer, Any]:
        """An answer unpacked, and its data; raises BodyError or JsonError."""
        codings = self.configuration.decode
        if codings is None:
            return answer, answer_data(answer)
        answer = unpacked(answer, codings, self.configuration.max_response_bytes)
        last = codings[-1]
        return answer, answer_data(answer) if last == "gunzip" else parsed(answer, last)

    def _acted(
        self, result: ProviderResult, body: str, context: CallContext | None
    ) -> ProviderResult:
        """What `response_actions` make of an answer; raises PageError where a condition fails."""
        status, headers = result.code or 0, result.meta["headers"]
        actions = self.configuration.response_actions
        found = action_for(actions, status, body, result.data, headers)
        if found is None:
            return result
        action, key = found
        if action == "ignore":
            meta = {**result.meta, "ignored": True}
            return replace(result, success=True, notes=(), data=None, meta=meta)
        note = f"{status_note(status, body, context)} (failed by '{key}')"
        meta = {**result.meta, "retryable": action == "retry"}
        return replace(result, success=False, notes=(note,), data=result.data, meta=meta)


class RestKind(ProviderKind):
    """The provider type `rest`."""

    provider = RestProvider
    configuration_model = RestConfiguration
    request_keys = frozenset(
        field.alias or name for name, field in RestConfiguration.model_fields.items()
    )
    payload_keys = frozenset({"input_mode"})
    call_modules = ("flowtoy_dagster.providers.rest.network.transport",)
    text_keys = frozenset({"headers", "params", "form"})
    key_hints = dict.fromkeys(
        ("url", "method", "headers", "params", "json", "uri", "endpoint"),
        "write 'source: rest' and 'input: {url: ...}'",
    )
    copies_input = False
    gives_json = True
    answer_model = RestAnswer
    makes_exchanges = True

    def call_facts(
        self, configuration: Mapping[str, Any], payload: Any, part: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The request, with what asks for its page."""
        return super().call_facts(with_page(configuration, part), payload, {})

    def suggest(
        self, configuration: Mapping[str, Any], answer: Mapping[str, Any]
    ) -> Suggestion | None:
        """Paginator and selector for an API that has pages."""
        return suggest(answer, configuration.get("params") or {})

    def missing(self, configuration: Mapping[str, Any]) -> str | None:
        """That there is no URL."""
        if configuration.get("url") or configuration.get("base_url"):
            return None
        return _NO_URL

    def warnings(self, configuration: Mapping[str, Any]) -> list[Finding]:
        """A URL that can't be called, as far as it is written, and JSON that is a text."""
        return [*url_findings(configuration), *json_findings(configuration)]

    def describe(self, configuration: Mapping[str, Any]) -> str:
        """The method and the URL as written, without its user and query."""
        method = str(configuration.get("method") or "GET")
        base, url = (str(configuration.get(key) or "") for key in ("base_url", "url"))
        word = method.upper() if method.upper() in METHODS else method
        return f"{word} {shown(join(base, url))}".rstrip()

    def template_names(
        self, configuration: Mapping[str, Any], complete: bool
    ) -> Collection[str]:
        """What expressions about a page know."""
        # A step may add expressions to a source.
        pages = PAGE_NAMES if "paginator" in configuration or not complete else ()
        actions = ANSWER_NAMES if "response_actions" in configuration or not complete else ()
        auth = configuration.get("auth")
        has_template = isinstance(auth, Mapping) and "template" in auth
        tokens = TOKEN_NAMES if has_template or not complete else ()
        return {*pages, *actions, *tokens}

    def why_not_repeated(
        self, configuration: Mapping[str, Any], result: ProviderResult | None
    ) -> str | None:
        """That what was sent may have been done."""
        return why_not_repeated(configuration, result)

    def view(self, result: ProviderResult) -> ResultView:
        """The data, and for a text of which media type it is."""
        view = super().view(result)
        headers = Headers(result.meta.get("headers") or {})
        media_type = str(headers.get("content-type", "")).partition(";")[0].strip()
        if not isinstance(result.data, str) or media_type.endswith("json"):
            return view
        return view._replace(text_of=f"the answer ({media_type})" if media_type else "the answer")

    def render(
        self, configuration: Mapping[str, Any], scope: Mapping[str, Any], payload: Any
    ) -> dict[str, Any]:
        """The configuration with its templates rendered, but for expressions about answers."""
        return super().render(bound(configuration, scope), scope, payload)


def _failed(note: str, meta: Mapping[str, Any] | None = None) -> ProviderResult:
    return ProviderResult(False, notes=(note,), meta=meta or {})
