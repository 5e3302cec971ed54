"""A check for checkov: secrets are files that only the pod's group reads, and no pod learns the addresses of services."""

from typing import Any

from checkov.common.models.enums import CheckResult
from checkov.kubernetes.checks.resource.base_root_container_check import BaseK8sRootContainerCheck

_MODE = 0o440


class SecretFiles(BaseK8sRootContainerCheck):
    """Fails for a Secret with another mode than 0440, and for a pod with service links."""

    def __init__(self) -> None:
        super().__init__(
            name="Secrets are files with mode 0440, and service links are off",
            id="CKV_MRR_1",
        )

    def scan_spec_conf(self, conf: dict[str, Any]) -> CheckResult:
        """Return the result for one workload."""
        spec = self.extract_spec(conf)
        secrets = [volume["secret"] for volume in spec.get("volumes", []) if "secret" in volume]
        is_safe = spec.get("enableServiceLinks") is False and all(
            secret.get("defaultMode") == _MODE for secret in secrets
        )
        return CheckResult.PASSED if is_safe else CheckResult.FAILED


check = SecretFiles()
