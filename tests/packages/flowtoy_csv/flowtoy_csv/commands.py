import csv


def count_rows(path: str):
    """Print how many rows a CSV file has."""
    with open(path, newline="", encoding="utf-8") as file:
        print(sum(1 for _ in csv.DictReader(file)))
