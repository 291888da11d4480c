{{- define "grantd.labels" -}}
app.kubernetes.io/name: grantd
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: grantd
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "grantd.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "grantd.metricsPort" -}}
{{ regexFind "[0-9]+$" .Values.metrics.listen }}
{{- end }}

{{- /* Where the kubelet asks: on the loopback where the agent listens on all addresses. */ -}}
{{- define "grantd.probeHost" -}}
{{- $host := regexReplaceAll ":[0-9]+$" .Values.metrics.listen "" | trimAll "[]" -}}
{{- if eq $host "0.0.0.0" }}127.0.0.1{{ else if eq $host "::" }}::1{{ else }}{{ $host }}{{ end }}
{{- end }}

{{- define "grantd.onLoopback" -}}
{{- if or (hasPrefix "127." .Values.metrics.listen) (hasPrefix "[::1]" .Values.metrics.listen) }}yes{{ end }}
{{- end }}
