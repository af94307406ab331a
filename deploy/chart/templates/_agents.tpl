{{- /* Agents: the canaries that stay, which the routines of `network` ask. */ -}}

{{- /* Whether there can be agents: the chart's own, or those of another release in the same namespace. */ -}}
{{- define "khealth.agents.possible" -}}
{{- if or (include "khealth.canary.image" .) (not (include "khealth.agents.enabled" .)) }}true{{ end -}}
{{- end -}}

{{- /* Whether the chart is to run agents if they are needed; values of an earlier release, which `--reuse-values` keeps,
do not say so. */ -}}
{{- define "khealth.agents.enabled" -}}
{{- if dig "enabled" true (default dict .Values.agents) }}true{{ end -}}
{{- end -}}

{{- /* Whether a routine that is to run asks agents. */ -}}
{{- define "khealth.agents.needed" -}}
{{- range include "khealth.routines" . | fromJsonArray }}{{ if .about.agents }}true{{ end }}{{ end -}}
{{- end -}}

{{- /* Deployment or DaemonSet, if the chart runs agents. */ -}}
{{- define "khealth.agents.kind" -}}
{{- if and (include "khealth.agents.enabled" .) (include "khealth.canary.image" .) (include "khealth.agents.needed" .) -}}
{{- dig "kind" "Deployment" (default dict .Values.agents) -}}
{{- end -}}
{{- end -}}

{{- /* What khealth's configuration says of agents: JSON. The chart runs them, so khealth itself does not. */ -}}
{{- define "khealth.agents.config" -}}
{{- $config := get (default dict .Values.config) "agents" | default dict | deepCopy -}}
{{- if and (include "khealth.agents.needed" .) (include "khealth.agents.possible" .) -}}
  {{- $_ := set $config "own" false -}}
  {{- if eq (include "khealth.agents.kind" .) "Deployment" }}{{ $_ := set $config "scale" true }}{{ end -}}
  {{- if include "khealth.agents.onHosts" . -}}
    {{- $_ := set $config "host_network" true -}}
  {{- else if and (include "khealth.agents.kind" .) (get $config "host_network") (not (dig "hostNetwork" false (default dict .Values.agents))) -}}
    {{- fail "values: config.agents.host_network: the chart runs no such agents; set agents.hostNetwork instead" -}}
  {{- end -}}
{{- end -}}
{{- $config | toJson -}}
{{- end -}}

{{- /* Whether a routine that is to run compares the networks of nodes. */ -}}
{{- define "khealth.agents.comparing" -}}
{{- range include "khealth.routines" . | fromJsonArray }}{{ if .about.hosts }}true{{ end }}{{ end -}}
{{- end -}}

{{- /* Whether the chart runs more agents, in the networks of their nodes. */ -}}
{{- define "khealth.agents.onHosts" -}}
{{- if and (include "khealth.agents.kind" .) (include "khealth.agents.comparing" .) (dig "hostNetwork" false (default dict .Values.agents)) }}true{{ end -}}
{{- end -}}

{{- /* The Pod Security level that a namespace needs: agents in the networks of nodes are not allowed otherwise. */ -}}
{{- define "khealth.namespace.level" -}}
{{- $hosts := and (include "khealth.agents.onHosts" (index . 0)) (eq (index . 1) (include "khealth.canaries.namespace" (index . 0))) -}}
{{- ternary "privileged" "restricted" (eq (toString $hosts) "true") -}}
{{- end -}}

{{- /* What tells the chart's agents from all other pods, and those of a kind (`""`, or `-host`) from the others; by their
name, who looks for khealth's own pods does not find them. */ -}}
{{- define "khealth.agents.selector" -}}
{{- $context := index . 0 -}}
app.kubernetes.io/component: agent
app.kubernetes.io/instance: {{ $context.Release.Name }}
app.kubernetes.io/name: {{ include "khealth.name" $context }}-agent{{ index . 1 }}
{{- end -}}

{{- /* All agents, of any release and of khealth itself: the pods that khealth finds. */ -}}
{{- define "khealth.agents.all" -}}
app.kubernetes.io/component: agent
app.kubernetes.io/managed-by: khealth
{{- end -}}

{{- /* The labels of an agent. */ -}}
{{- define "khealth.agents.labels" -}}
{{- $values := (index . 0).Values -}}
{{- $about := (include "khealth.catalogue" (index . 0) | fromJson).agents -}}
{{- $own := include "khealth.agents.all" (index . 0) | fromYaml -}}
{{- $told := get (default dict $values.agents) "labels" | default dict -}}
{{- merge (include "khealth.agents.selector" . | fromYaml) $own $told $about.labels (default dict $values.commonLabels) | toYaml -}}
{{- end -}}

{{- /* The specification of an agent, as khealth's code has it, with what the values say. */ -}}
{{- define "khealth.agents.spec" -}}
{{- $selector := include "khealth.agents.selector" . | fromYaml -}}
{{- $host := index . 1 -}}
{{- with index . 0 -}}
{{- $spec := (include "khealth.catalogue" . | fromJson).agents.spec -}}
{{- if $host }}{{ $_ := set $spec "hostNetwork" true }}{{ end -}}
{{- $agents := default dict .Values.agents -}}
{{- $pod := include "khealth.canaries.pod" . | fromJson -}}
{{- $container := first $spec.containers -}}
{{- $_ := set $container "image" (include "khealth.canary.image" .) -}}
{{- $resources := merge (dict) (get $agents "resources" | default dict) -}}
{{- if not (hasKey $resources "requests") }}{{ $_ := set $resources "requests" $container.resources.requests }}{{ end -}}
{{- include "khealth.canaries.fit" (dict "where" "agents.resources" "resources" $resources) -}}
{{- range $key := keys $resources }}{{ if not (get $resources $key) }}{{ $_ := unset $resources $key }}{{ end }}{{ end -}}
{{- $_ := set $container "resources" $resources -}}
{{- range $spec.topologySpreadConstraints -}}
  {{- $_ := set .labelSelector "matchLabels" $selector -}}
{{- end -}}
{{- $_ := set $spec "nodeSelector" (merge (dict) $spec.nodeSelector (get $agents "nodeSelector" | default dict)) -}}
{{- range $key := list "tolerations" "priorityClassName" "runtimeClassName" -}}
  {{- with get $agents $key }}{{ $_ := set $spec $key . }}{{ end -}}
{{- end -}}
{{- /* As with canaries that measure something: who needs a secret to pull khealth's image needs it for these too. */ -}}
{{- $secrets := concat (get $pod "imagePullSecrets" | default list) (include "khealth.ownPullSecrets" . | fromJsonArray) -}}
{{- with include "khealth.pullSecrets" $secrets | fromJsonArray }}{{ $_ := set $spec "imagePullSecrets" . }}{{ end -}}
{{- if hasKey $pod "runAsUser" -}}
  {{- $context := omit $spec.securityContext "runAsUser" "fsGroup" -}}
  {{- with $pod.runAsUser }}{{ $context = merge $context (dict "runAsUser" (int64 .) "fsGroup" (int64 .)) }}{{ end -}}
  {{- $_ := set $spec "securityContext" $context -}}
{{- end -}}
{{- toYaml $spec -}}
{{- end -}}
{{- end -}}
