{{- /* Names and labels. */ -}}

{{- define "khealth.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 47 | trimSuffix "-" -}}
{{- end -}}

{{- /* The name of what is made; it leaves room for a suffix. */ -}}
{{- define "khealth.fullname" -}}
{{- $name := include "khealth.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default $full .Values.fullnameOverride | trunc 47 | trimSuffix "-" -}}
{{- end -}}

{{- define "khealth.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- /* Where the canaries are. */ -}}
{{- define "khealth.canaries.namespace" -}}
{{- default (include "khealth.namespace" .) .Values.canaries.namespace -}}
{{- end -}}

{{- /* Name of what belongs to the whole cluster: two releases of one name in two namespaces must not meet. */ -}}
{{- define "khealth.clusterwide" -}}
{{- printf "%s-%s" (include "khealth.namespace" .) (include "khealth.fullname" .) -}}
{{- end -}}

{{- /* Name of what is where the canaries are: releases of several namespaces may share theirs. */ -}}
{{- define "khealth.canaries.name" -}}
{{- $own := eq (include "khealth.namespace" .) (include "khealth.canaries.namespace" .) -}}
{{- include ($own | ternary "khealth.fullname" "khealth.clusterwide") . -}}
{{- end -}}

{{- define "khealth.serviceAccountName" -}}
{{- $default := .Values.serviceAccount.create | ternary (include "khealth.fullname" .) "default" -}}
{{- default $default .Values.serviceAccount.name -}}
{{- end -}}

{{- define "khealth.image" -}}
{{- $image := .Values.image -}}
{{- $registry := default $image.registry .Values.global.imageRegistry -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- with $image.digest }}@{{ . }}{{ else }}:{{ default $.Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{- /* What selects objects of this release: a label of khealth's own, because tools rewrite others (Argo CD, `instance`). */ -}}
{{- define "khealth.own" -}}
khealth.io/release: {{ include "khealth.fullname" . }}
{{- end -}}

{{- /* The Deployment's selector, which cannot be changed: every release has it. Nothing else selects by it. */ -}}
{{- define "khealth.selector" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/name: {{ include "khealth.name" . }}
{{- end -}}

{{- /* Labels of everything; as context a list of the chart's and what is added. */ -}}
{{- define "khealth.labels" -}}
{{- $context := index . 0 -}}
{{- $own := include "khealth.own" $context | fromYaml -}}
{{- $own = merge $own (dict
  "app.kubernetes.io/managed-by" $context.Release.Service
  "app.kubernetes.io/part-of" "khealth"
  "app.kubernetes.io/version" ($context.Chart.AppVersion | replace "+" "_")
  "helm.sh/chart" (printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
) -}}
{{- $selector := include "khealth.selector" $context | fromYaml -}}
{{- $more := slice . 1 -}}
{{- $labels := merge (dict) $selector $own -}}
{{- range $more }}{{ $labels = merge $labels (default dict .) }}{{ end -}}
{{- merge $labels (default dict $context.Values.commonLabels) | toYaml -}}
{{- end -}}

{{- /* Labels of pods, which stay as they are when only the chart's version changes. */ -}}
{{- define "khealth.podLabels" -}}
{{- $context := index . 0 -}}
{{- $selector := include "khealth.selector" $context | fromYaml -}}
{{- $own := include "khealth.own" $context | fromYaml -}}
{{- $component := dict "app.kubernetes.io/component" (index . 1) -}}
{{- $more := merge (dict) (default dict $context.Values.podLabels) (default dict $context.Values.commonLabels) -}}
{{- merge (dict) $selector $own $component $more | toYaml -}}
{{- end -}}

{{- /* `annotations` on a line of its own, if there are any; as context the indentation and the annotations. */ -}}
{{- define "khealth.annotations" -}}
{{- with index . 1 }}{{ dict "annotations" . | toYaml | nindent (index $ 0) }}{{ end -}}
{{- end -}}

{{- /* Pull secrets as a pod has them, a JSON list; as context a list of names, of objects with a name, or nothing. */ -}}
{{- define "khealth.pullSecrets" -}}
{{- $found := list -}}
{{- range . }}{{ $found = append $found (kindIs "string" . | ternary (dict "name" .) .) }}{{ end -}}
{{- $found | uniq | toJson -}}
{{- end -}}

{{- /* Pull secrets of khealth's own image, a JSON list. */ -}}
{{- define "khealth.ownPullSecrets" -}}
{{- concat (default list .Values.imagePullSecrets) (default list .Values.global.imagePullSecrets) | include "khealth.pullSecrets" -}}
{{- end -}}

{{- /* Pull secrets of khealth's own pods. */ -}}
{{- define "khealth.imagePullSecrets" -}}
{{- with include "khealth.ownPullSecrets" . | fromJsonArray }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
