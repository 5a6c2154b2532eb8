from pydantic import BaseModel

from flowtoy_dagster import ExecutorKind


class LoggedOptions(BaseModel):
    file: str


class LoggedKind(ExecutorKind):
    """Runs one step after another, and writes to a file that it does."""

    options_model = LoggedOptions

    def build(self, options, max_workers, limits):
        import dagster as dg

        in_process = dg.in_process_executor

        def create(context):
            with open(options.file, "a", encoding="utf-8") as file:
                file.write("a run\n")
            return in_process.executor_creation_fn(context)

        return dg.ExecutorDefinition(
            name=self.name,
            config_schema=in_process.config_schema,
            executor_creation_fn=create,
        )
