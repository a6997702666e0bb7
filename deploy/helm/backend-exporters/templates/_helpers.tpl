{{- define "backend-exporters.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* What names begin with; room is left for the exporter, the shard or the name of a file. */}}
{{- define "backend-exporters.fullname" -}}
{{- $name := include "backend-exporters.name" . -}}
{{- $full := .Values.fullnameOverride -}}
{{- if not $full -}}
{{- $full = contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- end -}}
{{- $full | trunc 36 | trimSuffix "-" }}
{{- end }}

{{- define "backend-exporters.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
app.kubernetes.io/name: {{ include "backend-exporters.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: backend-exporters
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The exporters that are switched on, as a list of their keys among the values. */}}
{{- define "backend-exporters.enabled" -}}
{{- $on := list -}}
{{- range $key := list "postgres" "redis" "vectordb" "smtp" -}}
{{- if (index $.Values $key).enabled }}{{ $on = append $on $key }}{{ end -}}
{{- end -}}
{{- toJson $on -}}
{{- end }}

{{/*
One exporter, as all templates below take it: root, what its name is, and its settings, which are the defaults with its own
laid over them. The component is also its job in Prometheus, which the alert rules know.
*/}}
{{- define "backend-exporters.exporter" -}}
{{- $settings := deepCopy .root.Values.defaults -}}
{{- range $name, $value := index .root.Values .key -}}
{{- $before := index $settings $name -}}
{{- if and (kindIs "map" $value) (kindIs "map" $before) -}}
{{- range $inner, $own := $value }}{{ $_ := set $before $inner $own }}{{ end -}}
{{- else -}}
{{- $_ := set $settings $name $value -}}
{{- end -}}
{{- end -}}
{{- $component := eq .key "vectordb" | ternary "vector-db" .key -}}
{{- $name := printf "%s-%s" (include "backend-exporters.fullname" .root) $component -}}
{{- toJson (dict "key" .key "component" $component "name" $name "settings" $settings) -}}
{{- end }}

{{- define "backend-exporters.selector" -}}
app.kubernetes.io/name: {{ include "backend-exporters.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "backend-exporters.labels" -}}
{{ include "backend-exporters.commonLabels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* The names of one shard's Deployment and Service. */}}
{{- define "backend-exporters.shardName" -}}
{{- gt (int .settings.shards) 1 | ternary (printf "%s-%d" .name (int .shard)) .name -}}
{{- end }}

{{- define "backend-exporters.shardSelector" -}}
{{ include "backend-exporters.selector" . }}
{{- if gt (int .settings.shards) 1 }}
shard: {{ .shard | quote }}
{{- end }}
{{- end }}

{{- define "backend-exporters.serviceAccountName" -}}
{{- .settings.serviceAccount.name | default (.settings.serviceAccount.create | ternary .name "default") -}}
{{- end }}

{{- define "backend-exporters.image" -}}
{{- $image := .settings.image -}}
{{- $what := printf "%s/%s-exporter" $image.registry .component -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $what $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $what ($image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{/* The configuration file as text, or nothing. */}}
{{- define "backend-exporters.config" -}}
{{- if kindIs "string" .settings.config -}}
{{- .settings.config -}}
{{- else if .settings.config -}}
{{- toYaml .settings.config -}}
{{- end -}}
{{- end }}

{{/* Refuses what cannot work, and secrets where everybody could read them. */}}
{{- define "backend-exporters.check" -}}
{{- $s := .settings -}}
{{- $config := include "backend-exporters.config" . -}}
{{- if and (not $config) (not $s.env) (not $s.args) (not $s.secretFiles) -}}
{{- fail (printf "%s.enabled: say what to look at, with %s.config or %s.env" .key .key .key) -}}
{{- end -}}
{{- if and $s.secretFiles (not $s.existingSecret) -}}
{{- fail (printf "%s.secretFiles needs %s.existingSecret" .key .key) -}}
{{- end -}}
{{- $advice := "put it into a Secret, name that in existingSecret, and write {file: /run/secrets/exporter/KEY} or use secretFiles" -}}
{{- $inText := `://[^\s/@:"']*:[^\s/@"']+@|password\s*=` -}}
{{- $keys := `"?(password|api_key|bearer|secret|token)"?` -}}
{{- if regexMatch (printf `(?m)^[\s-]*%s:[ \t]*[^\s{#]|[{,]\s*%s:\s*[^\s{]|%s` $keys $keys $inText) $config -}}
{{- fail (printf "%s.config holds a secret: %s" .key $advice) -}}
{{- end -}}
{{- range $name, $value := $s.env -}}
{{- if or (regexMatch `(PASS|PASSWORD|API_KEY|SECRET|TOKEN)$` $name) (regexMatch $inText $value) -}}
{{- fail (printf "%s.env.%s holds a secret: %s" $.key $name $advice) -}}
{{- end -}}
{{- end -}}
{{- range $s.args -}}
{{- if regexMatch (printf `^--?redis\.password(=|$)|%s` $inText) . -}}
{{- fail (printf "%s.args holds a secret: %s" $.key $advice) -}}
{{- end -}}
{{- end -}}
{{- end }}
