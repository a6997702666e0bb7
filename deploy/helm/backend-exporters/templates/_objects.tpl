{{- define "backend-exporters.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "backend-exporters.shardName" . }}
  labels:
    {{- include "backend-exporters.labels" . | nindent 4 }}
  {{- with .settings.service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  ports:
    - name: http
      port: {{ .settings.service.port }}
      targetPort: http
  selector:
    {{- include "backend-exporters.shardSelector" . | nindent 4 }}
{{- end }}

{{- define "backend-exporters.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "backend-exporters.serviceAccountName" . }}
  labels:
    {{- include "backend-exporters.labels" . | nindent 4 }}
  {{- with .settings.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}

{{- define "backend-exporters.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}
  labels:
    {{- include "backend-exporters.labels" . | nindent 4 }}
data:
  exporter.yml: |
    {{- include "backend-exporters.config" . | nindent 4 }}
{{- end }}

{{- define "backend-exporters.networkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  labels:
    {{- include "backend-exporters.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "backend-exporters.selector" . | nindent 6 }}
  policyTypes:
    - Ingress
    {{- if .settings.networkPolicy.egress }}
    - Egress
    {{- end }}
  ingress:
    - from:
        {{- toYaml .settings.networkPolicy.from | nindent 8 }}
      ports:
        - port: http
          protocol: TCP
  {{- with .settings.networkPolicy.egress }}
  egress:
    - ports:
        - port: 53
          protocol: UDP
        - port: 53
          protocol: TCP
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "backend-exporters.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels:
    {{- include "backend-exporters.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .settings.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "backend-exporters.selector" . | nindent 6 }}
{{- end }}
