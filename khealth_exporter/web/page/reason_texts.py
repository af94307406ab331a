"""One sentence for each reason."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from khealth_exporter.vocabulary.reason import Reason


class ReasonText(NamedTuple):
    """`now` describes an ongoing problem, without a full stop; `then` describes one attempt, as a sentence."""

    now: str
    then: str


REASON_TEXTS: Final[Mapping[Reason, ReasonText]] = {
    Reason.API_UNREACHABLE: ReasonText("The API server is unreachable", "The API server was unreachable."),
    Reason.API_TIMEOUT: ReasonText(
        "The API server does not answer in time", "The API server did not answer before the deadline."
    ),
    Reason.API_ERROR: ReasonText("The API server returns errors", "The API server returned an error."),
    Reason.API_REJECTED: ReasonText(
        "The API server rejects khealth's objects", "The API server rejected an object of khealth."
    ),
    Reason.STALE_READ: ReasonText(
        "The API server returns outdated objects", "A read returned an older version than an acknowledged write."
    ),
    Reason.ONE_API_SERVER: ReasonText(
        "One API server does not answer", "At least one API server did not answer, and others did."
    ),
    Reason.WEBHOOK_FAILED: ReasonText(
        "An admission webhook fails", "The API server rejected the write because an admission webhook failed."
    ),
    Reason.ADMISSION_BYPASSED: ReasonText(
        "Pod Security is not enforced", "The API server accepted a pod that the namespace's Pod Security level forbids."
    ),
    Reason.POD_NOT_CREATED: ReasonText(
        "The controller manager does not create pods", "The controller manager did not create the pod."
    ),
    Reason.POD_NOT_DELETED: ReasonText(
        "The garbage collector does not delete pods", "The garbage collector did not delete the pod."
    ),
    Reason.STATUS_NOT_OBSERVED: ReasonText(
        "The controller manager does not update status",
        "The controller manager created the pod, but did not write the controller's status.",
    ),
    Reason.ROLLOUT_STALLED: ReasonText(
        "Rollouts do not complete", "The Deployment did not become available, or its rollout did not complete."
    ),
    Reason.ROLLOUT_UNAVAILABLE: ReasonText(
        "Rollouts remove too many pods", "During a rollout, fewer pods were Ready than the strategy promises."
    ),
    Reason.JOB_FAILED: ReasonText("Jobs do not complete", "The Job did not complete."),
    Reason.NOT_COLLECTED: ReasonText(
        "The garbage collector does not delete dependents", "Objects whose owner was deleted were not deleted."
    ),
    Reason.WRONGLY_COLLECTED: ReasonText(
        "The garbage collector deletes objects that it must keep", "An object was deleted that should have stayed."
    ),
    Reason.ENDPOINTS_NOT_PUBLISHED: ReasonText(
        "Services do not learn which pods are Ready", "The EndpointSlices of a Service did not follow its pods."
    ),
    Reason.POD_NOT_SCHEDULED: ReasonText("The scheduler does not bind pods", "The scheduler did not bind the pod."),
    Reason.POD_UNSCHEDULABLE: ReasonText(
        "The scheduler finds no node with room for pods", "The scheduler found no node that fits the pod."
    ),
    Reason.NODES_NOT_READY: ReasonText("No node is Ready", "No node that the pod could run on was Ready."),
    Reason.ONE_NODE: ReasonText("Pods fail on one node", "Pods failed on one node, and got further on others."),
    Reason.KUBELET_SILENT: ReasonText(
        "A kubelet does not respond", "The kubelet of the node did not start the pod, or did not stop it."
    ),
    Reason.SANDBOX_FAILED: ReasonText(
        "Pods get no sandbox or no network", "The pod's sandbox or its network was not set up."
    ),
    Reason.POD_NOT_STARTED: ReasonText("Containers do not start", "The pod's containers did not start."),
    Reason.POD_CRASHED: ReasonText("Containers crash", "A container of the pod exited."),
    Reason.POD_NOT_READY: ReasonText("Pods do not become Ready", "The pod ran, but did not become or stay Ready."),
    Reason.POD_LOST: ReasonText("Pods disappear", "A pod disappeared without a known cause."),
    Reason.CANARY_FAILED: ReasonText(
        "Canaries end without a result", "A canary ended without a result: it crashed, was killed, or could not run."
    ),
    Reason.WRONG_RESULT: ReasonText("A node computes wrong results", "A canary returned a wrong result."),
    Reason.CPU_STARVED: ReasonText("Canaries wait for a CPU", "A canary had to wait for a CPU for most of its time."),
    Reason.NOT_PROJECTED: ReasonText(
        "Mounted ConfigMaps and Secrets are not updated", "A running pod did not see a change of what it mounts."
    ),
    Reason.IMAGE_PULL_FAILED: ReasonText("Images cannot be pulled", "The pod's image could not be pulled."),
    Reason.DNS_FAILED: ReasonText("DNS does not answer", "DNS did not answer."),
    Reason.DNS_WRONG_ANSWER: ReasonText("DNS returns wrong answers", "DNS returned a wrong answer."),
    Reason.ONE_DNS_SERVER: ReasonText(
        "One DNS server fails", "A DNS server gave no right answer, and another one did."
    ),
    Reason.EGRESS_FAILED: ReasonText(
        "Pods do not reach targets outside the cluster", "A target that the configuration names was not reached."
    ),
    Reason.NETWORK_UNREACHABLE: ReasonText("Pods cannot reach each other", "A pod was not reachable over the network."),
    Reason.NETWORK_SLOW: ReasonText(
        "The pod network is slow or loses packets", "The network between pods was too slow, or lost too many packets."
    ),
    Reason.MTU_BLACK_HOLE: ReasonText(
        "Large packets between pods vanish", "Large packets between pods were lost, and small packets were not."
    ),
    Reason.SERVICE_NOT_PROGRAMMED: ReasonText(
        "Services do not reach their pods", "A Service did not answer in time, or still used a pod that ended."
    ),
    Reason.POLICY_NOT_ENFORCED: ReasonText(
        "NetworkPolicies are not enforced", "A NetworkPolicy that denies all traffic did not stop requests."
    ),
    Reason.POLICY_OVERBLOCKS: ReasonText(
        "NetworkPolicies block what they allow", "Requests that a NetworkPolicy allows were blocked."
    ),
    Reason.VOLUME_NOT_PROVISIONED: ReasonText("Volumes are not provisioned", "The volume was not provisioned."),
    Reason.VOLUME_NOT_ATTACHED: ReasonText("Volumes are not mounted", "The pod's volume was not attached or mounted."),
    Reason.VOLUME_NOT_DELETED: ReasonText("Volumes are not deleted", "The claim or its volume was not deleted."),
    Reason.DISK_FAILED: ReasonText("Disk reads or writes fail", "A read from the disk or a write to it failed."),
    Reason.DATA_CORRUPTED: ReasonText("Stored data is corrupted", "The data read differs from the data written."),
    Reason.CHECK_FAILED: ReasonText("A user's check fails", "The check said that what it tests is not well."),
    Reason.CHECK_SILENT: ReasonText(
        "A user's check does not end", "The check did not say what it found before its time was over."
    ),
    Reason.SLOW: ReasonText("Attempts exceed their time limits", "A step took longer than its limit."),
    Reason.FORBIDDEN: ReasonText(
        "A required permission is missing", "The API server denied khealth a required permission."
    ),
    Reason.PROXY_ERROR: ReasonText(
        "A proxy answers instead of the API server",
        "A proxy or gateway between khealth and the API server refused the request, or was not reachable.",
    ),
    Reason.RECOVERING: ReasonText(
        "The API server was away", "The API server had been away, and its clients may not have been connected again."
    ),
    Reason.THROTTLED: ReasonText(
        "The API server throttles khealth", "The API server rejected khealth's requests because it had too many."
    ),
    Reason.QUOTA_EXCEEDED: ReasonText(
        "A quota blocks khealth's objects", "A quota blocked the creation of khealth's objects."
    ),
    Reason.WATCH_INTERRUPTED: ReasonText(
        "Watches are interrupted", "A watch was interrupted, so khealth may have missed events."
    ),
    Reason.PROBER_STARVED: ReasonText(
        "Too little CPU time for khealth", "There was too little CPU time for khealth to measure reliably."
    ),
    Reason.DISRUPTED: ReasonText(
        "Pods are evicted or nodes removed", "The pod was evicted, or its node was drained or removed."
    ),
    Reason.NO_NODE: ReasonText(
        "Every node is cordoned or being removed", "Every node that the pod could run on was cordoned or being removed."
    ),
    Reason.POD_GATED: ReasonText(
        "Gates or containers that others added hold pods up",
        "The pod waited for a gate that another controller must clear, or for a container that others added.",
    ),
    Reason.DRY_RUN_UNSUPPORTED: ReasonText(
        "An admission webhook does not support dry-run",
        "An admission webhook does not support dry-run, so admission could not be tested.",
    ),
    Reason.NO_STORAGE_CLASS: ReasonText(
        "There is no such StorageClass", "The StorageClass does not exist, or there is no default one."
    ),
    Reason.AGENTS_NOT_READY: ReasonText("Agents are not Ready", "Too few of khealth's agents were Ready in time."),
    Reason.AGENT_UNREACHABLE: ReasonText("Agents do not answer khealth", "khealth's agents did not answer it."),
    Reason.AGENT_REFUSED: ReasonText("Agents refuse khealth", "khealth's agents did not accept its questions."),
    Reason.INTERRUPTED: ReasonText(
        "Attempts are interrupted",
        "The attempt was interrupted: khealth was stopped, or its namespace or its object was deleted.",
    ),
    Reason.UNKNOWN: ReasonText(
        "The controller manager is held up for an unknown reason",
        "The API server refused the controller manager for an unknown reason, or the garbage collector is slow.",
    ),
    Reason.NO_SINGLE_CAUSE: ReasonText(
        "Attempts fail, and no single cause explains it",
        "The attempt failed, and what khealth saw does not tell which component caused it.",
    ),
    Reason.INTERNAL_ERROR: ReasonText(
        "Internal error in khealth: see its log", "khealth has an internal error. Its log has the details."
    ),
}
"""By reason."""
