{{- define "mysql-sharding.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-" }}
{{- end }}

{{- define "mysql-sharding.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimAll "-" }}
{{- else if contains (include "mysql-sharding.name" .) .Release.Name }}
{{- .Release.Name | replace "." "-" | trunc 63 | trimAll "-" }}
{{- else }}
{{- printf "%s-%s" (.Release.Name | replace "." "-") (include "mysql-sharding.name" .) | trunc 63 | trimAll "-" }}
{{- end }}
{{- end }}

{{- define "mysql-sharding.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "mysql-sharding.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* Cluster-scoped objects of two releases in two namespaces need two names. */}}
{{- define "mysql-sharding.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "mysql-sharding.fullname" .) }}
{{- end }}

{{- define "mysql-sharding.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mysql-sharding.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "mysql-sharding.labels" -}}
{{ include "mysql-sharding.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "mysql-sharding.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "mysql-sharding.secretPolicy" -}}
{{- printf "%s-secrets.%s.operatorkit.dev" (include "mysql-sharding.fullname" .) .Release.Namespace }}
{{- end }}

{{- define "mysql-sharding.webhookService" -}}
{{- printf "%s-webhook" (include "mysql-sharding.fullname" . | trunc 55 | trimAll "-") }}
{{- end }}
