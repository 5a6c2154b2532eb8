"""What to write for an API that has pages, by the looks of one answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flowtoy_dagster.providers.kind import Suggestion
from flowtoy_dagster.providers.rest.pages.links import linked

_CURSOR_HEADERS = re.compile(
    r"x-(next-)?(cursor|page-token|continuation-?token|next)|x-next-page"
)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEEPEST = 3
_LISTS = ("data", "items", "results", "records", "rows", "value", "values", "entries", "content")
_LINK_WORDS = ("next", "nexturl", "nextlink", "nextpage", "nextpageurl", "odatanextlink",
               "nexthref", "nextpath")
_CURSOR_PARAMS = {
    "nextcursor": "cursor", "cursor": "cursor", "endcursor": "after", "after": "after",
    "nextpagetoken": "page_token", "pagetoken": "page_token", "nexttoken": "next_token",
    "continuationtoken": "continuation_token", "continuation": "continuation",
    "nextoffset": "offset", "nextpage": "page", "next": "cursor", "bookmark": "bookmark",
    "startingafter": "starting_after", "scrollid": "scroll_id",
}
"""By the name of what a page gives: the parameter that asks for the next, where APIs agree."""
_TOTALS = ("total", "totalcount", "totalitems", "totalresults", "count", "totalrecords",
           "totalsize")
_PAGES = ("totalpages", "pages", "pagecount", "lastpage", "numpages")
_OFFSETS, _LIMITS = ("offset", "skip", "start", "startat"), ("limit", "size", "maxresults")
_NUMBERS = ("page", "currentpage", "pagenumber", "pageindex")

Found = list[tuple[str, str, Any]]
"""Paths in an answer with the plain name and the value at their end, the shallowest first."""


def suggest(answer: Mapping[str, Any], params: Mapping[str, Any]) -> Suggestion:
    """What an answer looks like.

    Args:
        answer: with the keys of `RestAnswer`.
        params: the request's parameters.
    """
    if answer.get("failure") is not None:
        return Suggestion({}, (f"no answer came: {answer.get('message')}",), usable=False)
    status = answer.get("status", 200)
    if not 200 <= status < 300:
        return Suggestion({}, (f"the answer has the status {status}",), usable=False)
    if "json" not in answer:
        return Suggestion({}, ("the answer is not JSON",), usable=False)
    data, headers = answer["json"], answer.get("headers") or {}
    keys: dict[str, Any] = {}
    selector, count, notes = _selector(data)
    paginator, why = _paginator(data, headers, params, count)
    if paginator is not None:
        keys["paginator"] = paginator
    if selector is not None:
        keys["data_selector"] = selector
    return Suggestion(keys, (*notes, why))


def _selector(data: Any) -> tuple[str | None, int | None, tuple[str, ...]]:
    """Where the records are, how many there are, and what was seen."""
    if isinstance(data, list):
        return None, len(data), (f"the answer is a list of {len(data)} records",)
    lists = [(path, name, value) for path, name, value in _walk(data) if isinstance(value, list)]
    if not lists:
        return None, None, ("there is no list in the answer",)
    of_mappings = [one for one in lists if one[2] and isinstance(one[2][0], Mapping)]
    best = min(of_mappings or lists, key=_rank)
    others = [path for path, _, _ in lists if path != best[0]]
    also = f"; there are lists in {', '.join(others[:4])} too" if others else ""
    return best[0], len(best[2]), (f"the {len(best[2])} records are in {best[0]}{also}",)


def _rank(found: tuple[str, str, Any]) -> tuple[int, int, int]:
    path, name, value = found
    known = _LISTS.index(name) if name in _LISTS else len(_LISTS)
    return path.count("."), known, -len(value)


def _paginator(
    data: Any, headers: Mapping[str, Any], params: Mapping[str, Any], count: int | None
) -> tuple[dict[str, Any] | None, str]:
    """The paginator to write, and what speaks for it."""
    lowered = {name.lower(): str(value) for name, value in headers.items()}
    if linked(lowered.get("link", ""), "next") is not None:
        return {"type": "header_link"}, "the header 'Link' has the next page"
    found = [one for one in _walk(data) if not isinstance(one[2], (list, Mapping))]
    for path, name, value in found:
        if name in _LINK_WORDS and isinstance(value, str) and _is_link(value):
            return {"type": "json_link", "next_url_path": path}, f"{path} is a link"
    for path, name, value in found:
        if name in _CURSOR_PARAMS and (isinstance(value, (str, int)) or value is None):
            if isinstance(value, bool) or (name in _LINK_WORDS and value is None):
                continue
            param = _CURSOR_PARAMS[name]
            if "." not in path and _is_camel(path) and "_" in param:
                head, *rest = param.split("_")
                param = head + "".join(word.title() for word in rest)
            note = f"{path} asks for the next page; the API's documentation names the parameter"
            return {"type": "cursor", "cursor_path": path, "cursor_param": param}, note
    for name in lowered:
        if _CURSOR_HEADERS.fullmatch(name):
            param = "page" if name.endswith("page") else "cursor"
            return {"type": "header_cursor", "cursor_key": name, "cursor_param": param}, (
                f"the header '{name}' asks for the next page"
            )
    return _counted(found, params, count)


def _counted(
    found: Found, params: Mapping[str, Any], count: int | None
) -> tuple[dict[str, Any] | None, str]:
    names = {name: (path, value) for path, name, value in reversed(found) if _is_number(value)}
    asked = {_plain(name): name for name in params}

    def first(words: tuple[str, ...]) -> tuple[str, int] | None:
        return next((names[word] for word in words if word in names), None)

    total, pages, page = first(_TOTALS), first(_PAGES), first(_NUMBERS)
    offset = next((asked[word] for word in _OFFSETS if word in asked), None)
    limit = first(_LIMITS)
    if offset is not None or first(_OFFSETS) is not None:
        written = next((params[asked[word]] for word in _LIMITS if word in asked), None)
        size = limit[1] if limit else written if _is_number(written) else count
        paginator: dict[str, Any] = {"type": "offset", "limit": size or 100}
        if offset is not None and offset != "offset":
            paginator["offset_param"] = offset
        if total is not None:
            paginator["total_path"] = total[0]
        return paginator, "the answer counts records from an offset"
    if page is not None or pages is not None or "page" in asked:
        paginator = {"type": "page_number"}
        if page is not None:
            paginator["base_page"] = page[1]
        if pages is not None:
            paginator["total_path"] = pages[0]
        return paginator, "the answer counts pages; 'base_page' is the number of the first"
    if total is not None and count is not None and total[1] > count:
        return {"type": "offset", "limit": count or 100, "total_path": total[0]}, (
            f"{total[0]} says that there are {total[1]} records, and {count} came"
        )
    return None, "nothing in the answer asks for another page"


def _walk(data: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str, Any]]:
    """The values in mappings, the shallowest first."""
    if not isinstance(data, Mapping) or depth >= _DEEPEST:
        return
    inner = []
    for key, value in data.items():
        name = key if _PLAIN.fullmatch(key) else json.dumps(key)
        place = f"{path}.{name}" if path else name
        yield place, _plain(key), value
        inner.append((value, place))
    for value, place in inner:
        yield from _walk(value, place, depth + 1)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_camel(path: str) -> bool:
    return "_" not in path and path != path.lower()


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_link(value: str) -> bool:
    return value.startswith(("http://", "https://", "/", "?"))
