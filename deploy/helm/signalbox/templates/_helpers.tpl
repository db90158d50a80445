{{/* Name of all objects: that of the release. */}}
{{- define "signalbox.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "signalbox.selector" -}}
app.kubernetes.io/name: signalbox
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "signalbox.labels" -}}
{{ include "signalbox.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* The time for a pod to end, in seconds, rounded up. */}}
{{- define "signalbox.gracePeriod" -}}
{{- $ms := add (int .Values.drain.readinessDelayMs) (int .Values.drain.timeoutMs) -}}
{{- add (div (add $ms 999) 1000) 15 -}}
{{- end -}}

{{/* A value of the environment: text as it is, everything else as TOML, which is JSON for numbers, booleans and
lists. Numbers of a values file are floats. */}}
{{- define "signalbox.setting" -}}
{{- if kindIs "string" . -}}{{ . }}
{{- else if kindIs "float64" . -}}{{ int64 . }}
{{- else -}}{{ toJson . }}
{{- end -}}
{{- end -}}
