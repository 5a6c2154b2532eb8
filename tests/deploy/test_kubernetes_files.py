"""What `flowtoy deploy init --target k8s` writes fits Kubernetes' API and Dagster's launcher.

No cluster is needed: the models of the `kubernetes` package, and the configuration schema and the
job of `dagster-k8s`.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from flowtoy_dagster.deployment.templates import files_of

pytest.importorskip("dagster_k8s", reason="the extra [k8s] is not installed")
FILES = files_of("k8s")
KUSTOMIZATION = yaml.safe_load(FILES["kustomization.yaml"])
OBJECTS = list(yaml.safe_load_all(FILES["flowtoy.yaml"]))
NAMES = [f"{one['kind']} {one['metadata']['name']}" for one in OBJECTS]
SETTINGS = yaml.safe_load(FILES["workspace/dagster.yaml"])
DEPLOYMENTS = {o["metadata"]["name"]: o for o in OBJECTS if o["kind"] == "Deployment"}
OF_CHART: dict[str, str] = {
    "": "global dagster-user-deployments runLauncher computeLogManager dagsterWebserver "
        "dagsterDaemon",
    "global": "dagsterHome",
    "dagster-user-deployments": "enabled deployments",
    "dagster-user-deployments.deployments": "name image port codeServerArgs env envSecrets "
        "includeConfigInLaunchedRuns podSecurityContext volumes volumeMounts",
    "runLauncher": "type config",
    "runLauncher.config": "k8sRunLauncher",
    "runLauncher.config.k8sRunLauncher": "runK8sConfig",
    "runLauncher.config.k8sRunLauncher.runK8sConfig": "containerConfig podSpecConfig "
        "podTemplateSpecMetadata jobSpecConfig jobMetadata",
    "computeLogManager": "type config",
    "computeLogManager.config": "customComputeLogManager",
    "computeLogManager.config.customComputeLogManager": "module class config",
    "dagsterWebserver": "image podSecurityContext volumes volumeMounts",
    "dagsterDaemon": "image podSecurityContext",
}
"""By the path of a mapping in values.yaml: keys that the schema of Dagster's chart has there.

Other keys are an error in the chart for most of these mappings, and without effect in the rest.
"""


def model_of(found: dict[str, Any], kind: str) -> Any:
    """An object as the API's model of it; wrong values and missing keys are errors."""
    from kubernetes.client import ApiClient

    return ApiClient().deserialize(SimpleNamespace(data=json.dumps(found)), kind)


@pytest.mark.parametrize("found", OBJECTS, ids=NAMES)
def test_every_object_is_one_of_the_api_without_unknown_keys(found: dict[str, Any]) -> None:
    from kubernetes.client import ApiClient

    model = model_of(found, f"V1{found['kind']}")
    # What the model does not know is lost on the way.
    assert ApiClient().sanitize_for_serialization(model) == found


def test_unknown_keys_and_wrong_values_would_be_seen() -> None:
    pod = DEPLOYMENTS["code"]["spec"]["template"]["spec"]
    wrong = {"apiVersion": "v1", "kind": "Pod", "spec": {**pod, "readOnlyRoot": True}}
    assert "readOnlyRoot" not in str(model_of(wrong, "V1Pod").to_dict())
    with pytest.raises(ValueError, match="containers"):
        model_of({"apiVersion": "v1", "kind": "Pod", "spec": {}}, "V1Pod")


def test_no_pod_runs_as_root_or_can_write_its_image() -> None:
    for deployment in DEPLOYMENTS.values():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in (*pod["initContainers"], *pod["containers"]):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        # What executes flows has no access to the cluster.
        code = deployment["metadata"]["name"] == "code"
        assert pod["automountServiceAccountToken"] is not code


def test_what_the_objects_refer_to_is_there() -> None:
    named: dict[str, set[str]] = {}
    for one in OBJECTS:
        named.setdefault(one["kind"], set()).add(one["metadata"]["name"])
    maps = {one["name"] for one in KUSTOMIZATION["configMapGenerator"]}
    secrets = {one["name"] for one in KUSTOMIZATION["secretGenerator"]}
    launcher = SETTINGS["run_launcher"]["config"]
    pods = [deployment["spec"]["template"]["spec"] for deployment in DEPLOYMENTS.values()]
    volumes = [*launcher["volumes"], *(volume for pod in pods for volume in pod["volumes"])]
    for volume in volumes:
        assert volume.get("configMap", {"name": "flowtoy-flows"})["name"] in maps
        claim = volume.get("persistentVolumeClaim", {"claimName": "flowtoy-files"})
        assert claim["claimName"] in named["PersistentVolumeClaim"]
    used = {s["secretRef"]["name"] for p in pods for c in p["containers"] for s in c["envFrom"]}
    assert used == set(launcher["env_secrets"]) == secrets
    assert {pod["serviceAccountName"] for pod in pods} == named["ServiceAccount"]
    assert launcher["service_account_name"] in named["ServiceAccount"]
    assert launcher["instance_config_map"] in maps
    assert launcher["job_namespace"] == KUSTOMIZATION["namespace"]
    assert named["Namespace"] == {KUSTOMIZATION["namespace"]}
    # The API wants it there, and not each kustomize adds it.
    (binding,) = (one for one in OBJECTS if one["kind"] == "RoleBinding")
    assert [one["namespace"] for one in binding["subjects"]] == [KUSTOMIZATION["namespace"]]
    images = {c["image"] for p in pods for c in (*p["containers"], *p["initContainers"])}
    assert images == {launcher["job_image"]}
    files = [f for one in KUSTOMIZATION["configMapGenerator"] for f in one["files"]]
    assert set(KUSTOMIZATION["resources"]) | set(files) <= set(FILES)
    envs = [f for one in KUSTOMIZATION["secretGenerator"] for f in one["envs"]]
    assert {f"{name}.example" for name in envs} <= set(FILES)


def test_the_launcher_takes_its_settings_and_makes_a_pod_in_which_a_run_can_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dagster._config import process_config, resolve_to_config_type
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import construct_dagster_k8s_job
    from kubernetes.client import ApiClient

    schema = resolve_to_config_type(K8sRunLauncher.config_type())
    checked = process_config(schema, SETTINGS["run_launcher"]["config"])
    assert checked.success, checked.errors
    # It asks for a cluster when it is made; nothing is sent.
    monkeypatch.setattr("kubernetes.config.load_incluster_config", lambda: None)
    launcher = K8sRunLauncher(inst_data=None, **checked.value)
    run: Any = SimpleNamespace(job_code_origin=None, tags={})
    context = K8sContainerContext.create_for_run(run, launcher, include_run_tags=False)
    job = construct_dagster_k8s_job(
        context.get_k8s_job_config(launcher.job_image, launcher),
        args=["dagster", "api", "execute_run"], job_name="run",
        user_defined_k8s_config=context.run_k8s_config,
    )
    pod = ApiClient().sanitize_for_serialization(job)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    # The home is made within the volume, for its user alone.
    assert variables["DAGSTER_HOME"] == "/home/flowtoy/home"
    assert (variables["FLOWTOY_FILES"], variables["FLOWTOY_PATH"]) == ("/files", "/flows")
    mounts = {one["mountPath"] for one in container["volumeMounts"]}
    assert mounts == {"/home/flowtoy", "/tmp", "/files", "/flows"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001}
    assert pod["automountServiceAccountToken"] is False
    secrets = [one["secretRef"]["name"] for one in container["envFrom"] if "secretRef" in one]
    assert secrets == ["flowtoy-storage", "flowtoy-secrets"]


def test_the_values_for_dagsters_chart_have_what_the_manifests_have() -> None:
    values = yaml.safe_load(FILES["values.yaml"])
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    pod = DEPLOYMENTS["code"]["spec"]["template"]["spec"]
    image = f"{deployment['image']['repository']}:{deployment['image']['tag']}"
    assert image == pod["containers"][0]["image"]
    for key, kind in (("volumes", "V1Volume"), ("volumeMounts", "V1VolumeMount")):
        for one in deployment[key]:
            assert model_of(one, kind)
    assert deployment["podSecurityContext"] == pod["securityContext"]
    assert deployment["envSecrets"] == [{"name": "flowtoy-secrets"}]
    assert deployment["codeServerArgs"][1] in pod["containers"][0]["command"]
    assert values["runLauncher"]["type"] == "K8sRunLauncher"


def test_what_the_values_refer_to_and_the_chart_does_not_make_is_told() -> None:
    text = FILES["values.yaml"]
    (deployment,) = yaml.safe_load(text)["dagster-user-deployments"]["deployments"]
    told = "".join(line for line in text.splitlines(True) if line.startswith("#"))
    for volume in deployment["volumes"]:
        for kind, key in (("configMap", "name"), ("persistentVolumeClaim", "claimName")):
            assert volume.get(kind, {key: "flowtoy-files"})[key] in told
    for secret in deployment["envSecrets"]:
        assert f"create secret generic {secret['name']} --from-env-file=flows.env" in told


@pytest.mark.parametrize("path", OF_CHART)
def test_the_values_for_dagsters_chart_have_keys_that_it_knows(path: str) -> None:
    found: Any = yaml.safe_load(FILES["values.yaml"])
    for key in filter(None, path.split(".")):
        found = found[key]
    for each in found if isinstance(found, list) else [found]:
        assert set(each) <= set(OF_CHART[path].split())


def test_the_pods_that_dagsters_chart_makes_are_not_of_root_either() -> None:
    from kubernetes.client import ApiClient

    values = yaml.safe_load(FILES["values.yaml"])
    of_runs = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    wanted = DEPLOYMENTS["code"]["spec"]["template"]["spec"]["securityContext"]
    found = [values[name]["podSecurityContext"] for name in ("dagsterWebserver", "dagsterDaemon")]
    assert [*found, of_runs["podSpecConfig"]["securityContext"]] == [wanted] * 3
    pod = model_of({**of_runs["podSpecConfig"], "containers": []}, "V1PodSpec")
    assert ApiClient().sanitize_for_serialization(pod) == {
        **of_runs["podSpecConfig"], "containers": []
    }
