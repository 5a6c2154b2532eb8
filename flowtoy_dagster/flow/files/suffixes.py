"""How the names of files end: of flows, and of tests of flows."""

YAML = (".yaml", ".yml")
OF_TESTS = (".test.yaml", ".test.yml")
