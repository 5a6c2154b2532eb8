"""Join orders with users and products: `join_orders.py ORDERS USERS PRODUCTS`, files of JSON lines.

Writes orders.csv into the folder that flowtoy names, and prints what all orders cost.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any


def read(file: str) -> list[dict[str, Any]]:
    """The records of a file."""
    return [json.loads(line) for line in Path(file).read_text("utf-8").splitlines()]


def main() -> None:
    """Join the three files that the command line names."""
    orders, users, products = map(read, sys.argv[1:])
    user_of = {user["id"]: user for user in users}
    product_of = {product["id"]: product for product in products}
    total = 0.0
    with Path(os.environ["FLOWTOY_OUTPUTS"], "orders.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["order", "customer", "product", "cost"])
        for order in orders:
            product = product_of[order["product_id"]]
            cost = round(order["quantity"] * product["price"], 2)
            total += cost
            table.writerow([order["id"], user_of[order["user_id"]]["name"], product["name"], cost])
    print(json.dumps({"orders": len(orders), "total": round(total, 2)}))


if __name__ == "__main__":
    main()
