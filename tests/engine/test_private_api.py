"""Every private name of Dagster that is used, with its shape: an upgrade fails here first.

Where a name fails after an upgrade, look at where it is used (`grep` for it in flowtoy_dagster/)
and at what Dagster has changed; then bring the table up to date.
"""
# ruff: noqa: E501 - the names are as long as they are

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import flowtoy_dagster

PACKAGE = Path(flowtoy_dagster.__file__).parent
CHECKED_WITH = "1.13.27"
PRIVATE = (
    "dagster._", "dagster_shared", "dagster_postgres", "dagster_webserver", "dagster_graphql",
)

IMPORTED: dict[str, str] = {
    "dagster._config.config_schema:UserConfigSchema": "a type's alias",
    "dagster._core.definitions.definitions_load_context:DefinitionsLoadContext":
        "(load_type, repository_load_data=…)",
    "dagster._core.definitions.definitions_load_context:DefinitionsLoadType":
        "members: INITIALIZATION, RECONSTRUCTION",
    "dagster._core.definitions.job_base:IJob": "()",
    "dagster._core.definitions.reconstruct:ReconstructableJob":
        "fields: repository, job_name, op_selection, asset_selection, asset_check_selection",
    "dagster._core.definitions.repository_definition.repository_data_builder": "module",
    "dagster._core.definitions.repository_definition:RepositoryLoadData": (
        "fields: cacheable_asset_data, reconstruction_metadata, defs_state_info, "
        "code_location_name"
    ),
    "dagster._core.definitions.repository_definition:SINGLETON_REPOSITORY_NAME":
        "'__repository__'",
    "dagster._core.events:ASSET_CHECK_EVENTS": (
        "holds: DagsterEventType.ASSET_CHECK_EVALUATION, "
        "DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED"
    ),
    "dagster._core.events:ASSET_EVENTS": (
        "holds: DagsterEventType.ASSET_FAILED_TO_MATERIALIZE, "
        "DagsterEventType.ASSET_MATERIALIZATION, "
        "DagsterEventType.ASSET_MATERIALIZATION_PLANNED, DagsterEventType.ASSET_OBSERVATION, "
        "DagsterEventType.FRESHNESS_STATE_CHANGE"
    ),
    "dagster._core.events:EVENT_TYPE_TO_PIPELINE_RUN_STATUS": (
        "holds: DagsterEventType.RUN_CANCELED, DagsterEventType.RUN_CANCELING, "
        "DagsterEventType.RUN_ENQUEUED, DagsterEventType.RUN_FAILURE, "
        "DagsterEventType.RUN_RESUMED, DagsterEventType.RUN_START, "
        "DagsterEventType.RUN_STARTING, DagsterEventType.RUN_SUCCESS, "
        "DagsterEventType.RUN_SUSPENDED"
    ),
    "dagster._core.events:EngineEventData": "fields: metadata, error, marker_start, marker_end",
    "dagster._core.execution.api:ExecuteRunWithPlanIterable":
        "(execution_plan, iterator, execution_context_manager)",
    "dagster._core.execution.api:create_execution_plan": (
        "(job, run_config=…, step_keys_to_execute=…, known_state=…, instance_ref=…, tags=…, "
        "repository_load_data=…)"
    ),
    "dagster._core.execution.api:execute_run_iterator":
        "(job, dagster_run, instance, resume_from_failure=…)",
    "dagster._core.execution.context.system:IStepContext": "()",
    "dagster._core.execution.context.system:PlanExecutionContext":
        "(plan_data, execution_data, log_manager, output_capture, event_loop)",
    "dagster._core.execution.context.system:PlanOrchestrationContext":
        "(plan_data, log_manager, executor, output_capture, resume_from_failure=…)",
    "dagster._core.execution.context_creation_job:ContextCreationData": (
        "fields: job, resolved_run_config, dagster_run, executor_def, instance, "
        "resource_keys_to_init, execution_plan"
    ),
    "dagster._core.execution.context_creation_job:ExecutionContextManager":
        "(event_generator, raise_on_error=…)",
    "dagster._core.execution.context_creation_job:PlanExecutionContextManager": (
        "(job, execution_plan, run_config, dagster_run, instance, retry_mode, "
        "scoped_resources_builder_cm=…, raise_on_error=…, output_capture=…, "
        "step_dependency_config=…)"
    ),
    "dagster._core.execution.context_creation_job:create_log_manager": "(context_creation_data)",
    "dagster._core.execution.context_creation_job:execution_context_event_generator": (
        "(job, execution_plan, run_config, dagster_run, instance, retry_mode, "
        "scoped_resources_builder_cm=…, raise_on_error=…, output_capture=…, "
        "step_dependency_config=…)"
    ),
    "dagster._core.execution.plan:active": "module",
    "dagster._core.execution.plan:execute_plan": "module",
    "dagster._core.execution.plan:instance_concurrency_context": "module",
    "dagster._core.execution.plan.active:ActiveExecution": (
        "(execution_plan, retry_mode, sort_key_fn=…, max_concurrent=…, "
        "tag_concurrency_limits=…, instance_concurrency_context=…, step_dependency_config=…)"
    ),
    "dagster._core.execution.plan.active:_pool_key_for_step": "(step)",
    "dagster._core.execution.plan.execute_plan:dagster_event_sequence_for_step":
        "(step_context, force_local_execution=…)",
    "dagster._core.execution.plan.execute_plan:inner_plan_execution_iterator":
        "(job_context, execution_plan, instance_concurrency_context=…)",
    "dagster._core.execution.plan.handle:StepHandle": "fields: node_handle, key",
    "dagster._core.execution.plan.instance_concurrency_context:InstanceConcurrencyContext":
        "(instance, dagster_run)",
    "dagster._core.execution.plan.inputs:FromMultipleSources":
        "fields: sources, node_handle, input_name",
    "dagster._core.execution.plan.outputs:StepOutputHandle":
        "fields: step_key, output_name, mapping_key",
    "dagster._core.execution.plan.plan:ExecutionPlan": (
        "fields: step_dict, executable_map, resolvable_map, step_handles_to_execute, "
        "known_state, artifacts_persisted, step_dict_by_key, executor_name, "
        "repository_load_data"
    ),
    "dagster._core.execution.plan.state:KnownExecutionState": (
        "fields: previous_retry_attempts, dynamic_mappings, step_output_versions, "
        "ready_outputs, parent_state"
    ),
    "dagster._core.execution.plan.state:PastExecutionState":
        "fields: run_id, produced_outputs, parent_state",
    "dagster._core.execution.plan.step:ExecutionStep": (
        "fields: handle, job_name, step_input_dict, step_output_dict, tags, logging_tags, key, "
        "pool"
    ),
    "dagster._core.definitions.scoped_resources_builder:ScopedResourcesBuilder":
        "fields: resource_instance_dict, contains_generator",
    "dagster._core.execution.resources_init:resource_initialization_event_generator": (
        "(resource_defs, resource_configs, log_manager, execution_plan, dagster_run, "
        "resource_keys_to_init, instance, emit_persistent_events, event_loop)"
    ),
    "dagster._utils:EventGenerationManager": "(generator, object_cls, require_object=…)",
    "dagster._core.execution.resources_init:get_required_resource_keys_to_init":
        "(execution_plan, job_def)",
    "dagster._core.execution.retries:RetryMode": "members: ENABLED, DISABLED, DEFERRED",
    "dagster._core.execution.retries:get_retries_config": "()",
    "dagster._core.execution.step_dependency_config:StepDependencyConfig":
        "fields: require_upstream_step_success",
    "dagster._core.executor.in_process:InProcessExecutor":
        "(retries, step_dependency_config=…, marker_to_close=…)",
    "dagster._core.executor.multiprocess": "module",
    "dagster._core.executor.multiprocess:MultiprocessExecutor": (
        "(retries, max_concurrent, tag_concurrency_limits=…, start_method=…, "
        "explicit_forkserver_preload=…, step_dependency_config=…)"
    ),
    "dagster._core.executor.multiprocess:MultiprocessExecutorChildProcessCommand": (
        "(run_config, dagster_run, step_key, instance_ref, term_event, recon_pipeline, "
        "retry_mode, known_state, repository_load_data)"
    ),
    "dagster._core.executor:in_process": "module",
    "dagster._core.executor:multiprocess": "module",
    "dagster._core.instance.factory": "module",
    "dagster._core.instance.ref:InstanceRef": (
        "fields: local_artifact_storage_data, compute_logs_data, scheduler_data, "
        "run_coordinator_data, run_launcher_data, settings, run_storage_data, "
        "event_storage_data, schedule_storage_data, custom_instance_class_data, storage_data, "
        "secrets_loader_data, defs_state_storage_data"
    ),
    "dagster._core.secrets.env_file": "module",
    "dagster._core.storage.sql": "module",
    "dagster._core.storage.sqlite_storage": "module",
    "dagster._core.storage.base_storage:DagsterStorage": "()",
    "dagster._core.storage.compute_log_manager:CapturedLogContext":
        "fields: log_key, external_url, external_stdout_url, external_stderr_url, shell_cmd",
    "dagster._core.storage.event_log.sqlite.sqlite_event_log:INDEX_SHARD_NAME": "'index'",
    "dagster._core.storage.event_log:SqliteEventLogStorage": "(base_dir, inst_data=…)",
    "dagster._core.storage.local_compute_log_manager:LocalComputeLogManager":
        "(base_dir, polling_timeout=…, inst_data=…)",
    "dagster._core.storage.root": "module",
    "dagster._core.storage.runs:SqliteRunStorage": "(conn_string, inst_data=…)",
    "dagster._core.storage.schedules:SqliteScheduleStorage": "(conn_string, inst_data=…)",
    "dagster._core.storage.sql:get_alembic_config":
        "(dunder_file, config_path=…, script_location=…)",
    "dagster._core.storage.sqlite:SQLITE_BUSY_TIMEOUT_SECONDS": "30",
    "dagster._core.storage.sqlite:create_db_conn_string": "(base_dir, db_name)",
    "dagster._core.storage.sqlite_storage:DagsterSqliteStorage": "(base_dir, inst_data=…)",
    "dagster._core.storage.sqlite_storage:_event_logs_directory": "(base)",
    "dagster._core.storage.sqlite_storage:_runs_directory": "(base)",
    "dagster._core.storage.sqlite_storage:_schedule_directory": "(base)",
    "dagster._core.storage:runs": "module",
    "dagster._core.storage:schedules": "module",
    "dagster._core.system_config.objects:ResolvedRunConfig":
        "fields: ops, execution, resources, loggers, original_config_dict, inputs",
    "dagster._core.utility_ops": "module",
    "dagster._core.workspace.autodiscovery": "module",
    "dagster._serdes:ConfigurableClassData": "fields: module_name, class_name, config_yaml",
    "dagster._serdes:pack_value": "(val, whitelist_map=…, descent_path=…)",
    "dagster._utils.error:serializable_error_info_from_exc_info":
        "(exc_info, hoist_user_code_error=…)",
    "dagster._utils.test.definitions": "module",
    "dagster_postgres:DagsterPostgresStorage":
        "(postgres_url, should_autocreate_tables=…, inst_data=…, token_provider=…)",
    "dagster_postgres:PostgresEventLogStorage":
        "(postgres_url, should_autocreate_tables=…, inst_data=…, token_provider=…)",
    "dagster_postgres:PostgresRunStorage":
        "(postgres_url, should_autocreate_tables=…, inst_data=…, token_provider=…)",
    "dagster_postgres:PostgresScheduleStorage":
        "(postgres_url, should_autocreate_tables=…, inst_data=…, token_provider=…)",
    "dagster_postgres.utils:DagsterPostgresException": "class",
    "dagster_postgres.utils:create_pg_engine":
        "(postgres_url, token_provider=…, **engine_kwargs)",
    "dagster_postgres.utils:get_token_provider_from_config": "(config_value)",
    "dagster_postgres.utils:pg_url_from_config": "(config_value)",
    "dagster_shared.error:SerializableErrorInfo":
        "fields: message, stack, cls_name, cause, context",
    "dagster._core.launcher:LaunchRunContext": "fields: dagster_run, workspace",
    "dagster._core.launcher:RunLauncher": "()",
    "dagster._core.remote_origin:ManagedGrpcPythonEnvCodeLocationOrigin":
        "fields: loadable_target_origin, location_name",
    "dagster._core.remote_origin:RemoteJobOrigin": "fields: repository_origin, job_name",
    "dagster._core.remote_origin:RemoteRepositoryOrigin":
        "fields: code_location_origin, repository_name",
    "dagster._core.remote_representation.grpc_server_registry:GrpcServerRegistry": (
        "(instance_ref, server_command, heartbeat_ttl, startup_timeout, "
        "wait_for_processes_on_shutdown, log_level=…, inject_env_vars_from_instance=…, "
        "container_image=…, container_context=…, additional_timeout_msg=…, defs_state_info=…)"
    ),
    "dagster._core.types.loadable_target_origin:LoadableTargetOrigin": (
        "fields: executable_path, python_file, module_name, working_directory, attribute, "
        "package_name, autoload_defs_module_name"
    ),
    "dagster._core.workspace.context:WorkspaceProcessContext": (
        "(instance, workspace_load_target, version=…, read_only=…, grpc_server_registry=…, "
        "code_server_log_level=…, server_command=…)"
    ),
    "dagster._core.workspace.load_target:WorkspaceLoadTarget": "()",
    "dagster._grpc.constants:GrpcServerCommand": "members: API_GRPC, CODE_SERVER_START",
    "dagster._serdes:ConfigurableClass": "()",
    "dagster._utils.hosted_user_process:recon_job_from_origin": "(origin)",
    "dagster_webserver.version:__version__": repr(dg.__version__),
    "dagster_webserver.webserver:DagsterWebserver": (
        "(process_context, app_path_prefix=…, live_data_poll_rate=…, uses_app_path_prefix=…)"
    ),
    "dagster._core.event_api:EventLogCursor": "fields: cursor_type, value",
}
"""What is imported: a class or function with its parameters, a tuple with its fields, …"""

MEMBERS: dict[str, str] = {
    "dagster:JobDefinition.as_ephemeral_job":
        "(self, resource_defs, input_values, op_selection=…, asset_selection=…)",
    "dagster:JobDefinition._copy": "(self, **kwargs)",
    **{
        f"dagster_webserver.webserver:DagsterWebserver.{name}": shape
        for name, shape in {
            "build_graphql_validation_rules": "(self)", "build_routes": "(self)",
            "create_asgi_app": "(self, **kwargs)", "graphql_http_endpoint": "(self, request)",
            "graphql_ws_endpoint": "(self, websocket)", "index_html_endpoint": "(self, request)",
            "webserver_info_endpoint": "(self, _request)",
            "download_captured_logs_endpoint": "(self, request)",
            "download_debug_file_endpoint": "(self, request)",
        }.items()
    },
    "dagster._core.definitions.definitions_load_context:DefinitionsLoadContext.accessed_defs_state_info":
        "property",
    "dagster._core.definitions.definitions_load_context:DefinitionsLoadContext.add_to_pending_reconstruction_metadata": (
        "(self, key, metadata)"
    ),
    "dagster._core.definitions.definitions_load_context:DefinitionsLoadContext.get": "(cls)",
    "dagster._core.definitions.definitions_load_context:DefinitionsLoadContext.get_pending_reconstruction_metadata": (
        "(self)"
    ),
    "dagster._core.definitions.definitions_load_context:DefinitionsLoadContext.load_type":
        "property",
    "dagster._core.definitions.definitions_load_context:DefinitionsLoadContext.scoped":
        "(cls, instance)",
    "dagster._core.definitions.repository_definition:RepositoryDefinition.replace_repository_load_data": (
        "(self, reconstruction_metadata, defs_state_info)"
    ),
    "dagster._core.events:DagsterEvent.engine_event":
        "(plan_context, message, event_specific_data=…)",
    "dagster._core.events:DagsterEvent.is_resource_init_failure": "property",
    "dagster._core.events:DagsterEvent.is_step_up_for_retry": "property",
    "dagster._core.events:DagsterEvent.step_worker_started":
        "(log_manager, job_name, message, metadata, step_key)",
    "dagster._core.events:DagsterEvent.step_worker_starting": "(step_context, message, metadata)",
    "dagster._core.events:EngineEventData.engine_error": "(error)",
    "dagster._core.events:EngineEventData.interrupted": "(steps_interrupted)",
    "dagster._core.events:EngineEventData.multiprocess": "(pid, step_keys_to_execute=…)",
    "dagster._core.execution.context.system:IStepContext.event_tags": "property",
    "dagster._core.execution.context.system:IStepContext.step": "property",
    "dagster._core.execution.context.system:PlanOrchestrationContext.dagster_run": "property",
    "dagster._core.execution.context.system:PlanOrchestrationContext.for_step": "(self, step)",
    "dagster._core.execution.context.system:PlanOrchestrationContext.instance": "property",
    "dagster._core.execution.context.system:PlanOrchestrationContext.reconstructable_job":
        "property",
    "dagster._core.execution.plan.active:ActiveExecution.__init__": (
        "(self, execution_plan, retry_mode, sort_key_fn=…, max_concurrent=…, "
        "tag_concurrency_limits=…, instance_concurrency_context=…, step_dependency_config=…)"
    ),
    "dagster._core.execution.plan.active:ActiveExecution._update": "(self)",
    "dagster._core.execution.plan.active:ActiveExecution.check_for_interrupts": "(self)",
    "dagster._core.execution.plan.active:ActiveExecution.concurrency_event_iterator":
        "(self, plan_context)",
    "dagster._core.execution.plan.active:ActiveExecution.get_known_state": "(self)",
    "dagster._core.execution.plan.active:ActiveExecution.get_step_by_key": "(self, step_key)",
    "dagster._core.execution.plan.active:ActiveExecution.get_steps_to_execute": "(self, limit=…)",
    "dagster._core.execution.plan.active:ActiveExecution.handle_event": "(self, dagster_event)",
    "dagster._core.execution.plan.active:ActiveExecution.is_complete": "property",
    "dagster._core.execution.plan.active:ActiveExecution.mark_failed": "(self, step_key)",
    "dagster._core.execution.plan.active:ActiveExecution.mark_interrupted": "(self)",
    "dagster._core.execution.plan.active:ActiveExecution.plan_events_iterator":
        "(self, job_context)",
    "dagster._core.execution.plan.active:ActiveExecution.sleep_interval": "(self)",
    "dagster._core.execution.plan.active:ActiveExecution.verify_complete":
        "(self, job_context, step_key)",
    "dagster._core.execution.plan.handle:StepHandle.parse_from_key": "(string)",
    "dagster._core.execution.retries:RetryMode.for_inner_plan": "(self)",
    "dagster._core.execution.retries:RetryMode.from_config": "(config_value)",
    "dagster._core.executor.in_process:InProcessExecutor.__init__":
        "(self, retries, step_dependency_config=…, marker_to_close=…)",
    "dagster._core.executor.in_process:InProcessExecutor.execute":
        "(self, plan_context, execution_plan)",
    "dagster._core.executor.in_process:inprocess_execution_iterator":
        "(job_context, execution_plan, instance_concurrency_context=…)",
    "dagster._core.executor.multiprocess:MultiprocessExecutor.__init__": (
        "(self, retries, max_concurrent, tag_concurrency_limits=…, start_method=…, "
        "explicit_forkserver_preload=…, step_dependency_config=…)"
    ),
    "dagster._core.executor.multiprocess:MultiprocessExecutor.execute":
        "(self, plan_context, execution_plan)",
    "dagster._core.executor.multiprocess:MultiprocessExecutor.log_failure_or_retry_event_after_error": (
        "(self, step_context, err_info, known_state)"
    ),
    "dagster._core.executor.multiprocess:MultiprocessExecutor.retries": "property",
    "dagster._core.executor.multiprocess:MultiprocessExecutor.step_dependency_config": "property",
    "dagster._core.log_manager:DagsterLogManager.create":
        "(cls, loggers, handlers=…, instance=…, dagster_run=…)",
    "dagster._core.storage.event_log:SqliteEventLogStorage.__init__":
        "(self, base_dir, inst_data=…)",
    "dagster._core.storage.event_log:SqliteEventLogStorage._connect": "(self, shard)",
    "dagster._core.storage.event_log:SqliteEventLogStorage._initdb":
        "(self, engine, for_index_shard=…)",
    "dagster._core.storage.event_log:SqliteEventLogStorage.conn_string_for_shard":
        "(self, shard_name)",
    "dagster._core.storage.event_log:SqliteEventLogStorage.delete_events": "(self, run_id)",
    "dagster._core.storage.event_log:SqliteEventLogStorage.dispose": "(self)",
    "dagster._core.storage.event_log:SqliteEventLogStorage.from_config_value":
        "(cls, inst_data, config_value)",
    "dagster._core.storage.event_log:SqliteEventLogStorage.free_concurrency_slot_for_step":
        "(self, run_id, step_key)",
    "dagster._core.storage.event_log:SqliteEventLogStorage.free_concurrency_slots_for_run":
        "(self, run_id)",
    "dagster._core.storage.event_log:SqliteEventLogStorage.has_table": "(self, table_name)",
    "dagster._core.storage.event_log:SqliteEventLogStorage.path_for_shard": "(self, run_id)",
    "dagster._core.storage.event_log:SqliteEventLogStorage.upgrade": "(self)",
    "dagster._core.storage.local_compute_log_manager:LocalComputeLogManager.__init__":
        "(self, base_dir, polling_timeout=…, inst_data=…)",
    "dagster._core.storage.local_compute_log_manager:LocalComputeLogManager.capture_logs":
        "(self, log_key)",
    "dagster._core.storage.local_compute_log_manager:LocalComputeLogManager.complete_artifact_path": (
        "(self, log_key)"
    ),
    "dagster._core.storage.local_compute_log_manager:LocalComputeLogManager.from_config_value":
        "(cls, inst_data, config_value)",
    "dagster._core.storage.runs:SqliteRunStorage._has_snapshot_id": "(self, snapshot_id)",
    "dagster._core.storage.local_compute_log_manager:LocalComputeLogManager.get_captured_local_path": (
        "(self, log_key, extension, partial=…)"
    ),
    "dagster._core.storage.local_compute_log_manager:LocalComputeLogManager.is_capture_complete":
        "(self, log_key)",
    "dagster._core.storage.runs:SqliteRunStorage.__init__": "(self, conn_string, inst_data=…)",
    "dagster._core.storage.runs:SqliteRunStorage.connect": "(self)",
    "dagster._core.storage.runs:SqliteRunStorage.dispose": "(self)",
    "dagster._core.storage.runs:SqliteRunStorage.from_local": "(cls, base_dir, inst_data=…)",
    "dagster._core.storage.schedules:SqliteScheduleStorage.__init__":
        "(self, conn_string, inst_data=…)",
    "dagster._core.storage.schedules:SqliteScheduleStorage.connect": "(self)",
    "dagster._core.storage.schedules:SqliteScheduleStorage.dispose": "(self)",
    "dagster._core.storage.schedules:SqliteScheduleStorage.from_local":
        "(cls, base_dir, inst_data=…)",
    "dagster._core.storage.sqlite_storage:DagsterSqliteStorage.__init__":
        "(self, base_dir, inst_data=…)",
    "dagster._core.storage.sqlite_storage:DagsterSqliteStorage.config_type": "(cls)",
    "dagster._core.storage.sqlite_storage:DagsterSqliteStorage.dispose": "(self)",
    "dagster._core.storage.sqlite_storage:DagsterSqliteStorage.from_config_value":
        "(cls, inst_data, config_value)",
    "dagster_postgres:DagsterPostgresStorage.__init__": (
        "(self, postgres_url, should_autocreate_tables=…, inst_data=…, token_provider=…)"
    ),
    "dagster_postgres:DagsterPostgresStorage.from_config_value": "(cls, inst_data, config_value)",
    "dagster_postgres:PostgresEventLogStorage._connect": "(self)",
    "dagster_postgres:PostgresEventLogStorage._event_to_row": "(self, event)",
    "dagster_postgres:PostgresEventLogStorage.dispose": "(self)",
    "dagster_postgres:PostgresEventLogStorage.store_event": "(self, event)",
    "dagster_postgres:PostgresRunStorage.connect": "(self)",
    "dagster_postgres:PostgresScheduleStorage.connect": "(self, run_id=…)",
    "dagster._core.workspace.context:WorkspaceProcessContext.__init__": (
        "(self, instance, workspace_load_target, version=…, read_only=…, "
        "grpc_server_registry=…, code_server_log_level=…, server_command=…)"
    ),
    "dagster._core.workspace.context:WorkspaceProcessContext.__exit__":
        "(self, exception_type, exception_value, traceback)",
    "dagster._core.workspace.context:WorkspaceProcessContext.refresh_workspace": "(self)",
    "dagster._core.workspace.load_target:WorkspaceLoadTarget.create_origins": "(self)",
    "dagster._core.remote_representation.grpc_server_registry:GrpcServerRegistry.__exit__":
        "(self, exception_type, exception_value, traceback)",
    "dagster._core.remote_representation.grpc_server_registry:GrpcServerRegistry.__init__": (
        "(self, instance_ref, server_command, heartbeat_ttl, startup_timeout, "
        "wait_for_processes_on_shutdown, log_level=…, inject_env_vars_from_instance=…, "
        "container_image=…, container_context=…, additional_timeout_msg=…, defs_state_info=…)"
    ),
    "dagster._core.launcher:RunLauncher.launch_run": "(self, context)",
    "dagster._core.launcher:RunLauncher.terminate": "(self, run_id)",
    "dagster._core.instance.ref:InstanceRef.from_dir":
        "(base_dir, !config_dir=…, !config_filename=…, !overrides=…)",
    "dagster._core.instance.ref:InstanceRef.from_dict": "(instance_ref_dict)",
    "dagster._core.instance.ref:InstanceRef.to_dict": "(self)",
    "dagster._serdes:ConfigurableClass.from_config_value": "(cls, inst_data, config_value)",
    "dagster._serdes:ConfigurableClass.config_type": "(cls)",
    "dagster._core.event_api:EventLogCursor.from_storage_id": "(storage_id)",
    "dagster._core.storage.event_log:SqliteEventLogStorage.watch":
        "(self, run_id, cursor, callback)",
    "dagster._core.storage.event_log:SqliteEventLogStorage.end_watch": "(self, run_id, handler)",
}
"""What is called, overridden or read on private objects."""


def imports() -> Iterator[str]:
    """`module:name`, or `module` alone, of each private import in the package."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PRIVATE):
                yield from (f"{node.module}:{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
                yield from (name for name in names if name.startswith(PRIVATE))


def find(name: str) -> Any:
    """What `module:name.member` stands for."""
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in filter(None, path.split(".")):
        if not hasattr(found, part):
            try:
                return importlib.import_module(f"{module}.{part}")
            except ModuleNotFoundError:
                raise AttributeError(f"{name} is not there any more") from None
        found = inspect.getattr_static(found, part) if inspect.isclass(found) else getattr(
            found, part
        )
    return found


def shape(found: Any) -> str:
    """What must not change: without annotations, whose text depends on Python's version."""
    if isinstance(found, (staticmethod, classmethod)):
        found = found.__func__
    if callable(found):
        found = inspect.unwrap(found)
    if isinstance(found, type):
        if issubclass(found, enum.Enum):
            return f"members: {', '.join(found.__members__)}"
        if hasattr(found, "_fields"):
            return f"fields: {', '.join(found._fields)}"
    elif not isinstance(found, types.FunctionType):
        return shape_of_value(found)
    try:
        signature = inspect.signature(found)
    except ValueError:  # an exception without arguments of its own
        return "class"
    parameters = []
    for parameter in signature.parameters.values():
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        only = "!" if parameter.kind is parameter.KEYWORD_ONLY else ""
        default = "" if parameter.default is parameter.empty else "=…"
        parameters.append(f"{star}{only}{parameter.name}{default}")
    return f"({', '.join(parameters)})"


def shape_of_value(found: Any) -> str:
    """What must not change of what is neither a class nor a function."""
    if isinstance(found, types.ModuleType):
        return "module"
    if isinstance(found, (set, frozenset, Mapping)):
        return f"holds: {', '.join(sorted(map(str, found)))}"
    if isinstance(found, (int, str)):
        return repr(found)
    if typing.get_origin(found) is not None:
        return "a type's alias"
    return "property"


def test_every_private_import_is_in_the_table() -> None:
    used = set(imports())
    assert used - IMPORTED.keys() == set(), "used, but not in the table"
    assert IMPORTED.keys() - used == set(), "in the table, but not used"


@pytest.mark.parametrize("name", [*IMPORTED, *MEMBERS])
def test_a_private_name_is_what_it_was(name: str) -> None:
    expected = {**IMPORTED, **MEMBERS}[name]
    assert shape(find(name)) == expected, (
        f"{name} has changed between Dagster {CHECKED_WITH} and {dg.__version__}: look at where "
        "flowtoy_dagster uses it, then bring this table up to date"
    )


def test_dagster_is_of_the_series_that_was_checked() -> None:
    assert dg.__version__.split(".")[:2] == CHECKED_WITH.split(".")[:2]
