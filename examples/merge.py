"""Join the shop's orders with their users and products; `mixed.yaml` runs this."""

from __future__ import annotations

import json
import os
import sys
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen


def fetch(url: str, token: str | None = None) -> Any:
    """The JSON at a URL."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urlopen(Request(url, headers=headers), timeout=30) as answer:
        return json.load(answer)


def merge(api: str) -> list[dict[str, Any]]:
    """Every order with the name of its user and product, and what it costs."""
    token = fetch(f"{api}/auth")["access_token"]
    users = {user["id"]: user for user in fetch(f"{api}/users", token)}
    products = {product["id"]: product for product in fetch(f"{api}/products", token)}
    return [
        {
            "order": order["id"],
            "user": users[order["user_id"]]["name"],
            "product": products[order["product_id"]]["name"],
            "quantity": order["quantity"],
            "total": round(order["quantity"] * products[order["product_id"]]["price"], 2),
        }
        for order in fetch(f"{api}/orders", token)
    ]


def reason(error: Exception) -> str:
    """The error in words, without urllib's `<urlopen error …>` around them."""
    if isinstance(error, URLError) and not isinstance(error, HTTPError):
        return str(error.reason)
    return str(error)


def main() -> None:
    """Print the merged orders of the shop at `SHOP_API`."""
    api = os.environ.get("SHOP_API")
    if not api:
        sys.exit("merge.py: SHOP_API is not set; try: python shop_api.py -- python merge.py")
    try:
        merged = merge(api)
    except (OSError, HTTPException, ValueError) as error:
        sys.exit(f"merge.py: cannot read {api}: {reason(error)}")
    print(json.dumps(merged, indent=2))


if __name__ == "__main__":
    main()
