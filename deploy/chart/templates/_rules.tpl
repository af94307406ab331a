{{- /* Alerts and what is recorded for them, as values want them. */ -}}

{{- /* Where the runbook is: khealth's own Service has it, unless another place is named. */ -}}
{{- define "khealth.runbook" -}}
{{- $service := .Values.service -}}
{{- $name := $service.enabled | ternary (include "khealth.fullname" .) (printf "%s-metrics" (include "khealth.fullname" .)) -}}
{{- $port := $service.enabled | ternary $service.port 8080 -}}
{{- $own := printf "%s://%s.%s.svc:%v/runbook" (include "khealth.web.scheme" .) $name (include "khealth.namespace" .) $port -}}
{{- default $own .Values.prometheusRule.runbookBaseUrl | trimSuffix "#" -}}
{{- end -}}

{{- /* The groups of a file of rules; as context the chart's and the file's text. Empty where no rule is left. */ -}}
{{- define "khealth.alerting" -}}
{{- $context := index . 0 -}}
{{- $values := $context.Values.prometheusRule -}}
{{- $groups := list -}}
{{- range $group := (index . 1 | fromYaml).groups -}}
  {{- $rules := list -}}
  {{- range $rule := $group.rules -}}
    {{- if eq (get $rule "record") "khealth:objective:ratio" -}}
      {{- $_ := set $rule "expr" (printf "vector(%v)" $values.objective) -}}
    {{- end -}}
    {{- $tuned := get (default dict $values.alerts) (get $rule "alert") | default dict -}}
    {{- $wanted := hasKey $tuned "enabled" | ternary $tuned.enabled (ne (get $rule "alert") "KhealthWatchdog") -}}
    {{- if hasKey $rule "alert" -}}
      {{- $_ := set $rule.annotations "runbook_url" (printf "%s#%s" (include "khealth.runbook" $context) (lower $rule.alert)) -}}
      {{- range $key, $tuning := dict "expr" "expr" "for" "for" "keepFiringFor" "keep_firing_for" -}}
        {{- with get $tuned $key -}}{{- $_ := set $rule $tuning . -}}{{- end -}}
      {{- end -}}
      {{- $severity := empty $tuned.severity | ternary dict (dict "severity" $tuned.severity) -}}
      {{- $_ := set $rule "labels" (merge (dict) (default dict $tuned.labels) $severity $rule.labels) -}}
      {{- $_ := set $rule "annotations" (merge (dict) (default dict $tuned.annotations) $rule.annotations) -}}
    {{- end -}}
    {{- if or $wanted (hasKey $rule "record") -}}
      {{- $rules = append $rules $rule -}}
    {{- end -}}
  {{- end -}}
  {{- if $rules -}}
    {{- $groups = append $groups (set $group "rules" $rules) -}}
  {{- end -}}
{{- end -}}
{{- with $groups -}}{{- dict "groups" . | toYaml -}}{{- end -}}
{{- end -}}
