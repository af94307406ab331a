{{- /* How khealth serves: with TLS or without, with passwords or without. */ -}}

{{- /* The web configuration that the chart writes: with the certificate, if a Secret has one. */ -}}
{{- define "khealth.web.config" -}}
{{- $config := deepCopy (default dict .Values.web.config) -}}
{{- if .Values.web.tlsSecret -}}
  {{- $tls := get $config "tls_server_config" | default dict -}}
  {{- $files := dict "cert_file" "/etc/khealth-tls/tls.crt" "key_file" "/etc/khealth-tls/tls.key" -}}
  {{- $_ := set $config "tls_server_config" (merge $tls $files) -}}
{{- end -}}
{{- $config | toJson -}}
{{- end -}}

{{- /* Name of the Secret with the web configuration; empty where there is none. */ -}}
{{- define "khealth.web.secret" -}}
{{- if .Values.web.existingSecret -}}
{{- .Values.web.existingSecret -}}
{{- else if include "khealth.web.config" . | fromJson -}}
{{- printf "%s-web" (include "khealth.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- /* http or https. */ -}}
{{- define "khealth.web.scheme" -}}
{{- $web := .Values.web -}}
{{- if and $web.existingSecret $web.config -}}
  {{- fail "values: web: config and existingSecret are two places for one thing; leave one of them empty" -}}
{{- end -}}
{{- if and $web.existingSecret (not $web.scheme) -}}
  {{- fail "values: web.scheme: the chart cannot see what web.existingSecret holds; say http, or https if it has a tls_server_config" -}}
{{- end -}}
{{- $seen := get (include "khealth.web.config" . | fromJson) "tls_server_config" | empty | ternary "http" "https" -}}
{{- if and $web.scheme (not $web.existingSecret) (ne $web.scheme $seen) -}}
  {{- fail (printf "values: web.scheme: is %s, but web.config and web.tlsSecret make khealth serve %s; leave it empty" $web.scheme $seen) -}}
{{- end -}}
{{- default $seen $web.scheme -}}
{{- end -}}

{{- /* Why a client without a certificate is refused; empty where it is not, as far as the chart can see. */ -}}
{{- define "khealth.web.clients" -}}
{{- $tls := get (include "khealth.web.config" . | fromJson) "tls_server_config" | default dict -}}
{{- if hasPrefix "Require" (get $tls "client_auth_type" | toString) -}}
{{- $tls.client_auth_type -}}
{{- else if get $tls "client_allowed_sans" -}}
client_allowed_sans
{{- end -}}
{{- end -}}

{{- /* A probe; as context [context, path]. Fails where the kubelet could not get an answer. */ -}}
{{- define "khealth.probe" -}}
{{- $context := index . 0 -}}
{{- $probes := $context.Values.probes -}}
{{- if eq $probes.type "tcp" -}}
tcpSocket:
  port: http
{{- else -}}
{{- $config := include "khealth.web.config" $context | fromJson -}}
{{- with include "khealth.web.clients" $context -}}
  {{- fail (printf "values: probes.type: web.config wants a certificate of every client (%s), and the kubelet has none; set probes.type to tcp" .) -}}
{{- end -}}
{{- if regexMatch "[1-9]" (dig "rate_limit" "interval" "" $config | toString) -}}
  {{- fail "values: probes.type: web.config's rate_limit also counts the kubelet's probes, so a client that exhausts it restarts khealth; set probes.type to tcp" -}}
{{- end -}}
{{- $names := list -}}
{{- range $probes.httpHeaders }}{{ $names = append $names (lower .name) }}{{ end -}}
{{- if and (get $config "basic_auth_users") (not (has "authorization" $names)) -}}
  {{- fail "values: probes.httpHeaders: web.config wants a password, and the kubelet has none; add a header Authorization, or set probes.type to tcp" -}}
{{- end -}}
httpGet:
  path: {{ index . 1 }}
  port: http
  scheme: {{ include "khealth.web.scheme" $context | upper }}
  {{- with $probes.httpHeaders }}
  httpHeaders:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
periodSeconds: {{ $probes.periodSeconds }}
timeoutSeconds: {{ $probes.timeoutSeconds }}
failureThreshold: {{ $probes.failureThreshold }}
{{- end -}}
