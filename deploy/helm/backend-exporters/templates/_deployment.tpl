{{- define "backend-exporters.deployment" -}}
{{- $s := .settings -}}
{{- $config := include "backend-exporters.config" . -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "backend-exporters.shardName" . }}
  labels:
    {{- include "backend-exporters.labels" . | nindent 4 }}
spec:
  replicas: {{ $s.replicas }}
  selector:
    matchLabels:
      {{- include "backend-exporters.shardSelector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "backend-exporters.labels" . | nindent 8 }}
        {{- if gt (int $s.shards) 1 }}
        shard: {{ .shard | quote }}
        {{- end }}
        {{- with $s.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        kubectl.kubernetes.io/default-container: exporter
        {{- if $config }}
        checksum/config: {{ sha256sum $config }}
        {{- end }}
        {{- with $s.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "backend-exporters.serviceAccountName" . }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $s.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      securityContext:
        {{- toYaml $s.podSecurityContext | nindent 8 }}
      containers:
        - name: exporter
          image: {{ include "backend-exporters.image" . | quote }}
          imagePullPolicy: {{ $s.image.pullPolicy }}
          args:
            - --web.listen-address=:9091
            {{- if $s.web.existingSecret }}
            - --web.config.file=/etc/exporter/web/web-config.yml
            {{- end }}
            {{- if $config }}
            - --config.file=/etc/exporter/config/exporter.yml
            {{- end }}
            {{- range $s.args }}
            - {{ . | quote }}
            {{- end }}
          {{- if or $s.env $s.secretFiles }}
          env:
            {{- range $name, $value := $s.env }}
            - name: {{ $name }}
              value: {{ $value | quote }}
            {{- end }}
            {{- range $name, $key := $s.secretFiles }}
            - name: {{ $name }}
              value: {{ printf "/run/secrets/exporter/%s" $key | quote }}
            {{- end }}
          {{- end }}
          ports:
            - name: http
              containerPort: 9091
          # Both are about the process alone: a backend that is down is told in metrics, and restarts nothing.
          livenessProbe:
            {{- include "backend-exporters.check-up" (dict "web" $s.web "path" "/healthz") | nindent 12 }}
            timeoutSeconds: 5
          readinessProbe:
            {{- include "backend-exporters.check-up" (dict "web" $s.web "path" "/-/ready") | nindent 12 }}
            timeoutSeconds: 5
          resources:
            {{- toYaml $s.resources | nindent 12 }}
          securityContext:
            {{- toYaml $s.securityContext | nindent 12 }}
          {{- if or $config $s.existingSecret $s.web.existingSecret $s.extraVolumeMounts }}
          volumeMounts:
            {{- if $config }}
            - name: config
              mountPath: /etc/exporter/config
              readOnly: true
            {{- end }}
            {{- if $s.existingSecret }}
            - name: secret
              mountPath: /run/secrets/exporter
              readOnly: true
            {{- end }}
            {{- if $s.web.existingSecret }}
            - name: web
              mountPath: /etc/exporter/web
              readOnly: true
            {{- end }}
            {{- with $s.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- end }}
      {{- include "backend-exporters.volumes" . | nindent 6 }}
      {{- include "backend-exporters.placement" . | nindent 6 }}
{{- end }}

{{/* How kubelet asks. It does not verify certificates, and cannot log in. */}}
{{- define "backend-exporters.check-up" -}}
{{- if .web.authentication -}}
tcpSocket:
  port: http
{{- else -}}
httpGet:
  path: {{ .path }}
  port: http
  scheme: {{ upper .web.scheme }}
{{- end -}}
{{- end }}

{{- define "backend-exporters.volumes" -}}
{{- $s := .settings -}}
{{- $config := include "backend-exporters.config" . -}}
{{- if or $config $s.existingSecret $s.web.existingSecret $s.extraVolumes -}}
volumes:
  {{- if $config }}
  - name: config
    configMap:
      name: {{ .name }}
  {{- end }}
  {{- if $s.existingSecret }}
  - name: secret
    secret:
      secretName: {{ $s.existingSecret }}
      defaultMode: 0440
  {{- end }}
  {{- if $s.web.existingSecret }}
  - name: web
    secret:
      secretName: {{ $s.web.existingSecret }}
      defaultMode: 0440
  {{- end }}
  {{- with $s.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "backend-exporters.placement" -}}
{{- with .settings.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $own := dict "labelSelector" (dict "matchLabels" (include "backend-exporters.selector" $ | fromYaml)) }}
  - {{ toYaml (merge . $own) | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- end }}
