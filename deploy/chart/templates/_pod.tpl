{{- /* What khealth's own pods have in common: the Deployment's, and the test's. */ -}}

{{- define "khealth.pod" -}}
serviceAccountName: {{ include "khealth.serviceAccountName" . }}
automountServiceAccountToken: true
enableServiceLinks: false
{{- include "khealth.imagePullSecrets" . }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
nodeSelector:
  {{- merge (dict "kubernetes.io/os" "linux") (default dict .Values.nodeSelector) | toYaml | nindent 2 }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
dnsPolicy: {{ .Values.dnsPolicy }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Annotation: what kube-score finds critical, and why it is so nevertheless. */ -}}
{{- define "khealth.argued" -}}
# A CPU limit would throttle khealth, and make it measure itself; requests and a limit of memory are there.
# It must come back while the registry is away, so an image that a node has is not pulled again.
# It can write nowhere: only its log would count as ephemeral storage, and that is the kubelet's to bound.
kube-score/ignore: container-resources,container-image-pull-policy,container-ephemeral-storage-request-and-limit
{{- end -}}

{{- /* What khealth's own containers have in common. */ -}}
{{- define "khealth.container" -}}
image: {{ include "khealth.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  # What khealth makes is owned by its own Pod, and goes with it.
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: POD_UID
    valueFrom:
      fieldRef:
        fieldPath: metadata.uid
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.containerSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
