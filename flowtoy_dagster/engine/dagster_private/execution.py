"""What executors and workers need: plans, their execution, the contexts of steps."""

from dagster._core.definitions.job_base import IJob
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.definitions.repository_definition import RepositoryLoadData
from dagster._core.definitions.scoped_resources_builder import ScopedResourcesBuilder
from dagster._core.events import EngineEventData
from dagster._core.execution.api import (
    ExecuteRunWithPlanIterable,
    create_execution_plan,
    execute_run_iterator,
)
from dagster._core.execution.context.system import (
    IStepContext,
    PlanExecutionContext,
    PlanOrchestrationContext,
)
from dagster._core.execution.context_creation_job import (
    ContextCreationData,
    ExecutionContextManager,
    PlanExecutionContextManager,
    create_log_manager,
    execution_context_event_generator,
)
from dagster._core.execution.plan import active, execute_plan, instance_concurrency_context
from dagster._core.execution.plan.active import ActiveExecution, _pool_key_for_step
from dagster._core.execution.plan.execute_plan import (
    dagster_event_sequence_for_step,
    inner_plan_execution_iterator,
)
from dagster._core.execution.plan.handle import StepHandle
from dagster._core.execution.plan.inputs import FromMultipleSources
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.outputs import StepOutputHandle
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.state import KnownExecutionState, PastExecutionState
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.resources_init import (
    get_required_resource_keys_to_init,
    resource_initialization_event_generator,
)
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._core.execution.step_dependency_config import StepDependencyConfig
from dagster._core.executor import in_process, multiprocess
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.executor.multiprocess import (
    MultiprocessExecutor,
    MultiprocessExecutorChildProcessCommand,
)
from dagster._core.instance.ref import InstanceRef
from dagster._core.system_config.objects import ResolvedRunConfig
from dagster._utils import EventGenerationManager
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster_shared.error import SerializableErrorInfo

__all__ = [
    "ActiveExecution",
    "ContextCreationData",
    "EngineEventData",
    "EventGenerationManager",
    "ExecuteRunWithPlanIterable",
    "ExecutionContextManager",
    "ExecutionPlan",
    "ExecutionStep",
    "FromMultipleSources",
    "IJob",
    "IStepContext",
    "InProcessExecutor",
    "InstanceConcurrencyContext",
    "InstanceRef",
    "KnownExecutionState",
    "MultiprocessExecutor",
    "MultiprocessExecutorChildProcessCommand",
    "PastExecutionState",
    "PlanExecutionContext",
    "PlanExecutionContextManager",
    "PlanOrchestrationContext",
    "ReconstructableJob",
    "RepositoryLoadData",
    "ResolvedRunConfig",
    "RetryMode",
    "ScopedResourcesBuilder",
    "SerializableErrorInfo",
    "StepDependencyConfig",
    "StepHandle",
    "StepOutputHandle",
    "_pool_key_for_step",
    "active",
    "create_execution_plan",
    "create_log_manager",
    "dagster_event_sequence_for_step",
    "execute_plan",
    "execute_run_iterator",
    "execution_context_event_generator",
    "get_required_resource_keys_to_init",
    "get_retries_config",
    "in_process",
    "inner_plan_execution_iterator",
    "instance_concurrency_context",
    "multiprocess",
    "resource_initialization_event_generator",
    "serializable_error_info_from_exc_info",
]
