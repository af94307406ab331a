{{- /* What khealth may do: the union of what the core and the enabled routines need, as the catalogue says. */ -}}

{{- /* The permissions of a scope, a JSON list without what is granted already; as context [context, scope]. */ -}}
{{- define "khealth.permissions" -}}
{{- $context := index . 0 -}}
{{- $scope := index . 1 -}}
{{- $catalogue := include "khealth.catalogue" $context | fromJson -}}
{{- $all := $catalogue.permissions -}}
{{- range include "khealth.routines" $context | fromJsonArray -}}
  {{- $settings := .settings -}}
  {{- range .about.permissions -}}
    {{- $needed := true -}}
    {{- if hasKey . "when" }}{{ $needed = hasKey $settings .when | ternary (get $settings .when) .default }}{{ end -}}
    {{- if $needed }}{{ $all = append $all (omit . "when" "default") }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- $asked := get (default dict $context.Values.config) "agents" | default dict -}}
{{- if and (include "khealth.agents.needed" $context) (eq (get $asked "channel") "proxy") -}}
  {{- $all = concat $all $catalogue.agents.proxied -}}
{{- end -}}
{{- $found := list -}}
{{- range $all }}{{ if eq .scope $scope }}{{ $found = append $found . }}{{ end }}{{ end -}}
{{- $found | uniq | toJson -}}
{{- end -}}

{{- /* Rules of RBAC, sorted, each verb with its reasons, for all objects or for one by its name; as context a list of permissions. */ -}}
{{- define "khealth.rules" -}}
{{- $resources := dict -}}
{{- range . -}}
  {{- $key := printf "%s/%s %s" .group .resource (get . "name") -}}
  {{- $verbs := get $resources $key | default dict -}}
  {{- $_ := set $verbs .verb (append (get $verbs .verb | default list) .why | uniq) -}}
  {{- $_ := set $resources $key $verbs -}}
{{- end -}}
{{- range $key := keys $resources | sortAlpha }}
{{- $about := splitList " " $key }}
{{- $group := first $about | splitList "/" | first }}
{{- $verbs := get $resources $key }}
- apiGroups: [{{ $group | quote }}]
  resources: [{{ first $about | trimPrefix (printf "%s/" $group) | quote }}]
  {{- with last $about }}
  resourceNames: [{{ . | quote }}]
  {{- end }}
  verbs:
    {{- range $verb := keys $verbs | sortAlpha }}
    - {{ $verb }} # {{ get $verbs $verb | join "; " }}
    {{- end }}
{{- end }}
{{- end -}}
