{{/* Name of all objects: the release's, with the chart's in it. */}}
{{- define "naru.name" -}}
{{- ternary .Release.Name (printf "%s-naru" .Release.Name) (contains "naru" .Release.Name) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that never change, since selectors are made of them. */}}
{{- define "naru.selector" -}}
app.kubernetes.io/name: naru
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of all objects. Not of the pod: a new chart must not restart an operator that stays the same. */}}
{{- define "naru.labels" -}}
{{ include "naru.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* repository:tag of (list image-values root). */}}
{{- define "naru.image" -}}
{{- $image := index . 0 -}}
{{- $root := index . 1 -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
