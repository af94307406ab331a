"""What each Reason means, in a sentence for people."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from khealth_exporter.vocabulary.reason import Reason


class Sentence(NamedTuple):
    """`now` is what the cluster does, again and again, to be followed by since when; `then` what it did once."""

    now: str
    then: str


SENTENCES: Final[Mapping[Reason, Sentence]] = {
    Reason.API_UNREACHABLE: Sentence("The API server cannot be reached", "The API server could not be reached."),
    Reason.API_TIMEOUT: Sentence(
        "The API server does not answer in time", "The API server did not answer before the deadline."
    ),
    Reason.API_ERROR: Sentence("The API server answers with errors", "The API server answered with an error."),
    Reason.API_REJECTED: Sentence(
        "The API server rejects khealth's objects", "The API server rejected what khealth wanted to write."
    ),
    Reason.WEBHOOK_FAILED: Sentence(
        "An admission webhook does not work", "An admission webhook could not be asked, so the write was refused."
    ),
    Reason.POD_NOT_CREATED: Sentence(
        "The controller manager does not create pods", "The controller manager did not create the pod."
    ),
    Reason.POD_NOT_DELETED: Sentence(
        "The garbage collector does not remove pods", "The garbage collector did not have the pod removed."
    ),
    Reason.POD_NOT_SCHEDULED: Sentence("The scheduler does not bind pods", "The scheduler did not bind the pod."),
    Reason.POD_UNSCHEDULABLE: Sentence(
        "The scheduler finds no node with room for pods", "The scheduler found no node that the pod fits on."
    ),
    Reason.NODES_NOT_READY: Sentence("No node is Ready", "No node that the pod may run on was Ready."),
    Reason.ONE_NODE: Sentence(
        "One node does not run pods", "Pods failed on one node alone; on others they got further."
    ),
    Reason.KUBELET_SILENT: Sentence(
        "A kubelet does not look after its pods", "The node's kubelet did not take the pod up, or did not end it."
    ),
    Reason.SANDBOX_FAILED: Sentence(
        "Pods get no sandbox or no network on their node", "The pod's sandbox or its network did not come up."
    ),
    Reason.POD_NOT_STARTED: Sentence("Containers do not start", "The pod's containers did not start."),
    Reason.POD_CRASHED: Sentence("Containers crash", "A container of the pod ended by itself."),
    Reason.POD_NOT_READY: Sentence("Pods do not become Ready", "The pod ran, but did not become or stay Ready."),
    Reason.POD_LOST: Sentence("Pods vanish", "A pod vanished, and nothing explains it."),
    Reason.IMAGE_PULL_FAILED: Sentence("Images cannot be pulled", "The pod's image could not be pulled."),
    Reason.DNS_FAILED: Sentence("DNS does not answer", "DNS did not answer."),
    Reason.DNS_WRONG_ANSWER: Sentence("DNS gives wrong answers", "DNS gave a wrong answer."),
    Reason.NETWORK_UNREACHABLE: Sentence(
        "Pods cannot reach each other", "A pod could not be reached over the network."
    ),
    Reason.NETWORK_SLOW: Sentence("The network between pods is slow", "The network between pods was too slow."),
    Reason.SERVICE_NOT_PROGRAMMED: Sentence(
        "Services do not lead to their pods", "The Service did not lead to its pod in time."
    ),
    Reason.VOLUME_NOT_PROVISIONED: Sentence("Volumes are not provisioned", "The volume was not provisioned."),
    Reason.DISK_FAILED: Sentence("Disks cannot be written or read", "The disk could not be written or read."),
    Reason.DATA_CORRUPTED: Sentence("Data come back changed", "What was read is not what had been written."),
    Reason.JOB_FAILED: Sentence("Jobs do not complete", "The Job did not complete."),
    Reason.SLOW: Sentence("Pods are slower than they may be", "A step took longer than it may."),
    Reason.FORBIDDEN: Sentence(
        "It lacks a right that it needs", "The API server denied khealth a right that it needs."
    ),
    Reason.THROTTLED: Sentence(
        "The API server turns requests away because it has too many",
        "The API server turned khealth's requests away because it had too many.",
    ),
    Reason.QUOTA_EXCEEDED: Sentence(
        "A quota leaves no room for khealth's pods", "A quota left no room for khealth's pods."
    ),
    Reason.WATCH_INTERRUPTED: Sentence(
        "Its view of the cluster was interrupted",
        "Khealth's watch was interrupted, so it may have missed what happened.",
    ),
    Reason.PROBER_STARVED: Sentence(
        "It gets too little CPU time itself", "Khealth itself got too little CPU time to judge."
    ),
    Reason.DISRUPTED: Sentence(
        "Pods are evicted or their nodes taken away", "A pod was evicted, or its node was drained or went away."
    ),
    Reason.NO_NODE: Sentence(
        "Every node is cordoned or being removed", "Every node that the pod may run on was cordoned or being removed."
    ),
    Reason.INTERRUPTED: Sentence(
        "Its attempts are cut short", "The attempt was cut short: khealth was stopped, or its namespace went."
    ),
    Reason.INTERNAL_ERROR: Sentence(
        "It has an internal error; see its log", "khealth has an internal error. Its log has the details."
    ),
}
"""Every Reason's."""
