{{- /* What khealth is to do, as its configuration says; and what follows from that.

files/catalogue.json says what there is to do. It is written from khealth's code. */ -}}

{{- define "khealth.catalogue" -}}
{{- .Files.Get "files/catalogue.json" -}}
{{- end -}}

{{- /* Every routine that is to run: a JSON list of {module, label, settings, about}, `about` being the catalogue's word.

A module that lists no routines runs each of its kinds that has no required setting; a module that is not mentioned
does so only if it is a default, and without the kinds that are opt-in. Its keys `suspend` and `suspend_until` are no
routines, and take no rights away. The values of `canaries.pod` are put into each routine that has pods and does not set
them itself; those whose canaries measure something have khealth's own image and pull secrets, and the resources
of `canary`. */ -}}
{{- define "khealth.routines" -}}
{{- $catalogue := include "khealth.catalogue" . | fromJson -}}
{{- $told := get (default dict .Values.config) "modules" | default dict -}}
{{- $packages := .Values.packages | default list -}}
{{- range $module := keys $told | sortAlpha -}}
  {{- if not (or (hasKey $catalogue.modules $module) (has $module $packages)) -}}
    {{- $known := keys $catalogue.modules | sortAlpha | join ", " -}}
    {{- fail (printf "values: config.modules.%s: khealth %s has no module of this name; it has %s; a package's is named in packages" $module $.Chart.AppVersion $known) -}}
  {{- end -}}
{{- end -}}
{{- range $module := $packages -}}
  {{- if hasKey $catalogue.modules $module -}}
    {{- fail (printf "values: packages: %s is one of khealth's own modules" $module) -}}
  {{- end -}}
{{- end -}}
{{- $pods := include "khealth.canaries.pod" . | fromJson -}}
{{- $image := include "khealth.canary.image" . -}}
{{- $agents := include "khealth.agents.possible" . -}}
{{- $routines := list -}}
{{- range $module := keys $catalogue.modules | sortAlpha -}}
  {{- $kinds := (get $catalogue.modules $module).routines -}}
  {{- $listed := omit (get $told $module | default dict) "suspend" "suspend_until" -}}
  {{- $implied := list -}}
  {{- if or (get $catalogue.modules $module).default (hasKey $told $module) -}}
    {{- range $kind, $about := $kinds -}}
      {{- $wanted := and $about.default (not $about.opt_in) (or $image (not $about.canary)) (or $agents (not $about.agents)) -}}
      {{- if $wanted }}{{ $implied = append $implied $kind }}{{ end -}}
    {{- end -}}
  {{- end -}}
  {{- range $label := $listed | empty | ternary $implied (keys $listed) | sortAlpha -}}
    {{- $settings := get $listed $label | default dict | deepCopy -}}
    {{- $kind := get $settings "kind" | default $label -}}
    {{- if not (hasKey $kinds $kind) -}}
      {{- $known := keys $kinds | sortAlpha | join ", " -}}
      {{- fail (printf "values: config.modules.%s.%s: its kind is %s, which this module has not; it has %s: say `kind: …`" $module $label $kind $known) -}}
    {{- end -}}
    {{- $about := get $kinds $kind -}}
    {{- if $about.pod -}}
      {{- $own := get $settings "pod" | default dict -}}
      {{- $pod := $pods -}}
      {{- if $about.canary -}}
        {{- $pod = omit $pods "image" "resources" -}}
        {{- /* Who needs a secret to pull khealth's image needs it for these too. */ -}}
        {{- $secrets := concat (get $pods "imagePullSecrets" | default list) (include "khealth.ownPullSecrets" $ | fromJsonArray) -}}
        {{- with include "khealth.pullSecrets" $secrets | fromJsonArray }}{{ $_ := set $pod "imagePullSecrets" . }}{{ end -}}
        {{- with $.Values.canary.resources }}{{ $pod = merge (dict "resources" .) $pod }}{{ end -}}
      {{- end -}}
      {{- $where := hasKey $own "resources" | ternary (printf "config.modules.%s.%s.pod.resources" $module $label) ($about.canary | ternary "canary.resources" "canaries.pod.resources") -}}
      {{- range $key, $value := $pod -}}
        {{- if not (hasKey $own $key) }}{{ $_ := set $own $key $value }}{{ end -}}
      {{- end -}}
      {{- include "khealth.canaries.classFits" (list $ (get $own "priorityClassName")) -}}
      {{- include "khealth.canaries.fit" (dict "where" $where "resources" (get $own "resources" | default dict)) -}}
      {{- $_ := unset $settings "pod" -}}
      {{- if $own }}{{ $_ := set $settings "pod" $own }}{{ end -}}
    {{- end -}}
    {{- $routine := dict "module" $module "label" $label "settings" $settings "about" $about -}}
    {{- $routines = append $routines $routine -}}
  {{- end -}}
{{- end -}}
{{- $routines | toJson -}}
{{- end -}}

{{- /* The image of canaries that measure something: khealth's own, unless the configuration names another or none. */ -}}
{{- define "khealth.canary.image" -}}
{{- $told := get (default dict .Values.config) "canary" | default dict -}}
{{- hasKey $told "image" | ternary (get $told "image") (include "khealth.image" .) -}}
{{- end -}}

{{- /* Fails if a request exceeds its limit, which khealth would refuse; as context {resources, where}. */ -}}
{{- define "khealth.canaries.fit" -}}
{{- $requests := get .resources "requests" | default dict -}}
{{- range $name, $limit := get .resources "limits" | default dict -}}
  {{- if hasKey $requests $name -}}
    {{- $request := get $requests $name -}}
    {{- if gt (include "khealth.amount" $request | float64) (include "khealth.amount" $limit | float64) -}}
      {{- fail (printf "values: %s: the request of %s (%v) exceeds its limit (%v)" $.where $name $request $limit) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /* A quantity of Kubernetes, a number or a text, in cores, bytes or pieces. */ -}}
{{- define "khealth.amount" -}}
{{- $number := regexFind `^[0-9.]+` (toString .) -}}
{{- $suffix := toString . | trimPrefix $number -}}
{{- $thousand := dict "n" 0.000000001 "u" 0.000001 "m" 0.001 "" 1.0 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 -}}
{{- $binary := dict "Ki" 0x1p10 "Mi" 0x1p20 "Gi" 0x1p30 "Ti" 0x1p40 "Pi" 0x1p50 "Ei" 0x1p60 -}}
{{- $factors := merge $thousand $binary -}}
{{- $factor := hasKey $factors $suffix | ternary (get $factors $suffix) (float64 (printf "1%s" $suffix)) -}}
{{- mulf (float64 $number) $factor -}}
{{- end -}}

{{- /* What `canaries` says of all pods of routines: JSON, without what it does not say. */ -}}
{{- define "khealth.canaries.pod" -}}
{{- $pod := dict -}}
{{- range $key, $value := .Values.canaries.pod -}}
  {{- if $value }}{{ $_ := set $pod $key $value }}{{ end -}}
{{- end -}}
{{- with get $pod "imagePullSecrets" }}{{ $_ := set $pod "imagePullSecrets" (include "khealth.pullSecrets" . | fromJsonArray) }}{{ end -}}
{{- /* Helm takes null for *not set*, and removes the key. Values of the first release, which `--reuse-values` keeps, lack
it too, together with the keys that are as old as it: then nobody has said anything. */ -}}
{{- $told := or (hasKey .Values.canaries.pod "runAsUser") (hasKey .Values.canaries.pod "labels") (hasKey .Values.canaries.pod "resources") -}}
{{- $user := get .Values.canaries.pod "runAsUser" -}}
{{- $catalogue := include "khealth.catalogue" . | fromJson -}}
{{- $_ := unset $pod "runAsUser" -}}
{{- if not $user -}}
  {{- if $told }}{{ $_ := set $pod "runAsUser" nil }}{{ end -}}
{{- else if ne (int64 $user) (int64 $catalogue.user) -}}
  {{- $_ := set $pod "runAsUser" (int64 $user) -}}
{{- end -}}
{{- if and .Values.canaries.priorityClass.create (not (hasKey $pod "priorityClassName")) -}}
  {{- $_ := set $pod "priorityClassName" (include "khealth.canaries.priorityClass" .) -}}
{{- end -}}
{{- $pod | toJson -}}
{{- end -}}

{{- /* The name of the PriorityClass, with its value unless that is the first release's: Kubernetes lets nobody change the
value of a class, so another value is another class. */ -}}
{{- define "khealth.canaries.priorityClass" -}}
{{- $class := .Values.canaries.priorityClass -}}
{{- $value := int64 $class.value -}}
{{- $class.name -}}
{{- if ne $value -11 }}-{{ lt $value 0 | ternary "minus-" "" }}{{ $value | toString | trimPrefix "-" }}{{ end -}}
{{- end -}}

{{- /* Fails for a class that is named as the chart would name its own, but for the value; as context a list of the chart's
and the class. Helm deletes the class of that name, where an earlier release of the chart has made it. */ -}}
{{- define "khealth.canaries.classFits" -}}
{{- $class := (index . 0).Values.canaries.priorityClass -}}
{{- $made := include "khealth.canaries.priorityClass" (index . 0) -}}
{{- if and $class.create (ne $made $class.name) (eq $class.name (toString (index . 1))) -}}
  {{- fail (printf "values: priorityClassName: %s is the name of the chart's PriorityClass without its value: leave it empty, or write %s" $class.name $made) -}}
{{- end -}}
{{- end -}}

{{- /* What the pod is replaced for: Helm deletes the class that the chart no longer makes at once, and a running khealth
would use it until its configuration has changed. The usual class is not mentioned. */ -}}
{{- define "khealth.canaries.classed" -}}
{{- $class := include "khealth.canaries.priorityClass" . -}}
{{- if not .Values.canaries.priorityClass.create }} without a class{{ else if ne $class "khealth-canary" }} of class {{ $class }}{{ end -}}
{{- end -}}

{{- /* The port at which checks report that speak Kuberhealthy's protocol; empty if there is no such check. */ -}}
{{- define "khealth.checks.port" -}}
{{- $reporting := false -}}
{{- range include "khealth.routines" . | fromJsonArray -}}
  {{- if eq (get .settings "protocol" | toString) "kuberhealthy" }}{{ $reporting = true }}{{ end -}}
{{- end -}}
{{- if $reporting -}}
{{- $told := get (default dict .Values.config) "kuberhealthy" | default dict -}}
{{- get $told "listen" | default ":8090" | regexFind "[0-9]+$" -}}
{{- end -}}
{{- end -}}

{{- /* The configuration file. */ -}}
{{- define "khealth.config" -}}
{{- $modules := dict -}}
{{- range include "khealth.routines" . | fromJsonArray -}}
  {{- $module := get $modules .module | default dict -}}
  {{- $_ := set $module .label .settings -}}
  {{- $_ := set $modules .module $module -}}
{{- end -}}
{{- range $name, $told := get (default dict .Values.config) "modules" | default dict -}}
  {{- range $key := list "suspend" "suspend_until" -}}
    {{- if hasKey ($told | default dict) $key -}}
      {{- $_ := set $modules $name (set (get $modules $name | default dict) $key (get $told $key)) -}}
    {{- end -}}
  {{- end -}}
  {{- if has $name ($.Values.packages | default list) }}{{ $_ := set $modules $name ($told | default dict) }}{{ end -}}
{{- end -}}
{{- $config := merge (dict "modules" $modules) (omit (default dict .Values.config) "modules") -}}
{{- with .Values.canaries.namespace }}{{ $_ := set $config "namespace" . }}{{ end -}}
{{- $_ := set $config "canary" (dict "image" (include "khealth.canary.image" .)) -}}
{{- with include "khealth.agents.config" . | fromJson }}{{ $_ := set $config "agents" . }}{{ end -}}
{{- toYaml $config -}}
{{- end -}}

{{- /* The full seconds, rounded up, of a duration as khealth has it; as context {text, where}. */ -}}
{{- define "khealth.seconds" -}}
{{- $rest := toString .text -}}
{{- if or (not $rest) (not (regexMatch `^([0-9]+h)?([0-9]+m)?([0-9]+(\.[0-9]+)?s)?([0-9]+ms)?$` $rest)) -}}
  {{- fail (printf "values: %s: %s is not a duration: write a number with its unit, as in 500ms, 5s or 2m" .where $rest) -}}
{{- end -}}
{{- $hours := regexFind `^[0-9]+h` $rest -}}
{{- $rest = trimPrefix $hours $rest -}}
{{- $minutes := regexMatch `^[0-9]+ms` $rest | ternary "" (regexFind `^[0-9]+m` $rest) -}}
{{- $rest = trimPrefix $minutes $rest -}}
{{- $seconds := regexFind `^[0-9.]+s` $rest -}}
{{- $milliseconds := trimPrefix $seconds $rest -}}
{{- $whole := add
  (mul 3600 (trimSuffix "h" $hours | default "0" | float64 | int64))
  (mul 60 (trimSuffix "m" $minutes | default "0" | float64 | int64))
-}}
{{- $parts := addf
  (trimSuffix "s" $seconds | default "0" | float64)
  (divf (trimSuffix "ms" $milliseconds | default "0" | float64) 1000.0)
-}}
{{- add $whole (ceil $parts | int64) -}}
{{- end -}}

{{- /* Seconds that a cleanup can take: the longest timeout, the time for the diagnosis, and a margin. */ -}}
{{- define "khealth.terminationGracePeriodSeconds" -}}
{{- if not (kindIs "invalid" .Values.terminationGracePeriodSeconds) -}}
{{- int64 .Values.terminationGracePeriodSeconds -}}
{{- else -}}
{{- $longest := 0 -}}
{{- range include "khealth.routines" . | fromJsonArray -}}
  {{- $text := get .settings "timeout" | default .about.timeout -}}
  {{- $where := printf "config.modules.%s.%s.timeout" .module .label -}}
  {{- $longest = include "khealth.seconds" (dict "text" $text "where" $where) | int64 | max $longest -}}
{{- end -}}
{{- /* Of packages, the chart knows what the values say. */ -}}
{{- range $module, $told := get (default dict .Values.config) "modules" | default dict -}}
  {{- if has $module ($.Values.packages | default list) -}}
    {{- range $label, $settings := omit ($told | default dict) "suspend" "suspend_until" -}}
      {{- with get ($settings | default dict) "timeout" -}}
        {{- $where := printf "config.modules.%s.%s.timeout" $module $label -}}
        {{- $longest = include "khealth.seconds" (dict "text" . "where" $where) | int64 | max $longest -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $catalogue := include "khealth.catalogue" . | fromJson -}}
{{- add $longest (int64 $catalogue.overtime) 10 -}}
{{- end -}}
{{- end -}}

{{- /* The PriorityClasses that canaries have: a JSON list. */ -}}
{{- define "khealth.canaries.priorityClasses" -}}
{{- $classes := list -}}
{{- range include "khealth.routines" . | fromJsonArray -}}
  {{- with dig "pod" "priorityClassName" "" .settings }}{{ $classes = append $classes . }}{{ end -}}
{{- end -}}
{{- $classes = $classes | uniq | sortAlpha -}}
{{- $agents := get (default dict .Values.agents) "priorityClassName" -}}
{{- if and $agents (has $agents $classes) .Values.canaries.quota.enabled -}}
  {{- fail (printf "values: agents.priorityClassName: %s is the canaries' class: their quota would count agents too; give agents another class, or switch off canaries.quota.enabled" $agents) -}}
{{- end -}}
{{- if and .Values.priorityClassName (has .Values.priorityClassName $classes) .Values.canaries.quota.enabled -}}
  {{- fail (printf "values: priorityClassName: %s is the canaries' class: their quota would count khealth's own pod, and stuck canaries keep it from coming back; give it another class, or switch off canaries.quota.enabled" .Values.priorityClassName) -}}
{{- end -}}
{{- $classes | toJson -}}
{{- end -}}

{{- /* How many canaries there may be. */ -}}
{{- define "khealth.canaries.pods" -}}
{{- if not (kindIs "invalid" .Values.canaries.quota.pods) -}}
{{- int64 .Values.canaries.quota.pods -}}
{{- else -}}
{{- $pods := 0 -}}
{{- range include "khealth.routines" . | fromJsonArray -}}
  {{- $pods = get .settings "replicas" | default .about.replicas | int64 | add $pods -}}
{{- end -}}
{{- /* For each khealth an attempt and an earlier one that still ends; a `helm test`; replaced pods. */ -}}
{{- add (mul $pods (add (mul 2 (max 1 (int64 .Values.replicaCount))) 1)) 5 -}}
{{- end -}}
{{- end -}}
