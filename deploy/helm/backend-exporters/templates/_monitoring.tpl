{{/* How Prometheus reaches an exporter, in a ServiceMonitor's endpoint and in a Probe alike. */}}
{{- define "backend-exporters.access" -}}
{{- with .settings.serviceMonitor.tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.serviceMonitor.basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.serviceMonitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "backend-exporters.serviceMonitor" -}}
{{- $m := .settings.serviceMonitor -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ .name }}
  labels:
    {{- include "backend-exporters.labels" . | nindent 4 }}
    {{- with $m.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  # The alert rules know the exporters by these jobs: postgres, redis, vector-db, smtp.
  jobLabel: app.kubernetes.io/component
  selector:
    matchLabels:
      {{- include "backend-exporters.selector" . | nindent 6 }}
  endpoints:
    - port: http
      path: /metrics
      scheme: {{ .settings.web.scheme }}
      {{- with $m.interval }}
      interval: {{ . }}
      {{- end }}
      {{- with $m.scrapeTimeout }}
      scrapeTimeout: {{ . }}
      {{- end }}
      {{- with $m.relabelings }}
      relabelings:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with include "backend-exporters.access" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
{{- end }}

{{/* One Probe for a list of targets and a shard, which asks for those whose hash is its number. */}}
{{- define "backend-exporters.probe" -}}
{{- $name := include "backend-exporters.shardName" . -}}
{{- $parameter := eq .component "smtp" | ternary "module" "auth_module" -}}
{{- $shards := int .settings.shards -}}
apiVersion: monitoring.coreos.com/v1
kind: Probe
metadata:
  name: {{ printf "%s-%s" $name .probe.name }}
  labels:
    {{- include "backend-exporters.labels" . | nindent 4 }}
    {{- with .settings.serviceMonitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  jobName: {{ .component }}
  {{- with .probe.interval }}
  interval: {{ . }}
  {{- end }}
  {{- with .probe.scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  prober:
    url: {{ printf "%s.%s.svc:%d" $name .root.Release.Namespace (int .settings.service.port) }}
    scheme: {{ .settings.web.scheme }}
    path: /probe
  {{- with include "backend-exporters.access" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  targets:
    staticConfig:
      static:
        {{- toYaml .probe.targets | nindent 8 }}
      {{- with .probe.labels }}
      labels:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or .probe.module (gt $shards 1) }}
      relabelingConfigs:
        {{- with .probe.module }}
        - targetLabel: __param_{{ $parameter }}
          replacement: {{ . | quote }}
        {{- end }}
        {{- if gt $shards 1 }}
        - sourceLabels: [__param_target]
          action: hashmod
          modulus: {{ $shards }}
          targetLabel: __tmp_shard
        - sourceLabels: [__tmp_shard]
          action: keep
          regex: {{ .shard | quote }}
        {{- end }}
      {{- end }}
{{- end }}
