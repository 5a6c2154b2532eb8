import csv

from pydantic import BaseModel, Field

from flowtoy_dagster import ProviderKind


class CsvConfiguration(BaseModel):
    path: str
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    most: int = Field(default=1000, gt=0)


class Csv:
    """Reads the rows of a CSV file; a payload names the columns to keep."""

    def __init__(self, configuration):
        self.configuration = CsvConfiguration.model_validate(configuration)

    def call(self, input_payload=None, context=None):
        settings = self.configuration
        try:
            with open(settings.path, newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file, delimiter=settings.delimiter))
        except OSError as error:
            return {"status": {"success": False, "notes": [str(error)]}, "data": None}
        columns = input_payload or (rows[0].keys() if rows else ())
        kept = [{name: row[name] for name in columns} for row in rows[: settings.most]]
        return {"status": {"success": True}, "data": kept, "meta": {"rows": len(rows)}}


class CsvKind(ProviderKind):
    provider = Csv
    configuration_model = CsvConfiguration
    request_keys = ("path", "delimiter", "most")
    call_modules = ("csv",)

    def describe(self, configuration):
        return f"the rows of {configuration['path']}"
