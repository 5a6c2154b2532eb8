import re

from flowtoy_dagster import Finding, OutputKind


class PatternOutput(OutputKind):
    """The first match of a regular expression in a result's text; null where there is none."""

    def check(self, value):
        try:
            re.compile(value)
        except re.error as error:
            return [Finding((), f"malformed pattern '{value}': {error}")]
        return []

    def extract(self, value, result, scope):
        data = result.result.data
        text = data["stdout"] if isinstance(data, dict) and "stdout" in data else str(data)
        found = re.search(value, text)
        return found and found[0]
