"""The tags and outputs by which flowtoy's jobs, runs and ops are known, also to executors."""

FLOW_TAG = "flowtoy/flow"
"""The tag of a job and its runs that holds the flow's written name."""
CONFIG_TAG = "flowtoy/config"
"""The tag of a job and its runs that holds the hash under which the configuration is saved."""
STEP_TAG = "flowtoy/step"
"""The tag of an op that holds its step's written name."""
HALT_TAG = "flowtoy/halts_run"
"""The tag of an op whose failure halts the run."""
ORDER_TAG = "flowtoy/order"
"""The tag of an op that holds its step's index in the file."""
FAILURES_TAG = "flowtoy/failures"
"""The tag of a run in which a step failed and the flow tolerates it; holds the run's id, because a
re-execution inherits the tags of its parent."""
REUSE_TAG = "flowtoy/reuses_items"
"""The tag of a retry with the repeated steps whose items it may reuse: the run's id, for the same
reason, and the keys of the steps."""

RESULT = "result"
"""The output of an op whose step succeeded."""
DONE = "done"
"""The output of an op whose step ended, either way; only where a dependent tolerates failure."""
