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

{{/* What holds the operator's permissions. */}}
{{- define "naru.role" -}}
{{- ternary "ClusterRole" "Role" (empty .Values.watchNamespace) -}}
{{- end -}}

{{/* Labels of the pod of `helm test`. Not the operator's: its Service must not find this pod. */}}
{{- define "naru.check" -}}
app.kubernetes.io/name: naru-check
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* What the restricted Pod Security Standard asks of a pod, and of a container; and no writing where no volume is. */}}
{{- define "naru.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "naru.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Where pods may run, and how their image is pulled. */}}
{{- define "naru.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Ports that the operator connects to, in order: those of the API server, of the default addresses, and the stated ones. */}}
{{- define "naru.egressPorts" -}}
{{- $ports := concat .Values.networkPolicy.apiServerPorts .Values.networkPolicy.egressPorts }}
{{- range splitList "," .Values.defaults.kafka.bootstrapServers | compact }}
{{- $ports = append $ports (regexFind "[0-9]+$" .) }}
{{- end }}
{{- range compact (list .Values.defaults.registry.url .Values.defaults.connect.url) }}
{{- $url := urlParse . }}
{{- $scheme := ternary "443" "80" (eq $url.scheme "https") }}
{{- $ports = append $ports (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default $scheme) }}
{{- end }}
{{- $numbers := list }}
{{- range $ports }}{{ $numbers = append $numbers (int .) }}{{ end }}
{{- $numbers | uniq | toYaml }}
{{- end -}}
