{{- define "pki.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-" }}
{{- end }}

{{- define "pki.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimAll "-" }}
{{- else if contains (include "pki.name" .) .Release.Name }}
{{- .Release.Name | replace "." "-" | trunc 63 | trimAll "-" }}
{{- else }}
{{- printf "%s-%s" (.Release.Name | replace "." "-") (include "pki.name" .) | trunc 63 | trimAll "-" }}
{{- end }}
{{- end }}

{{- define "pki.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "pki.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* Cluster-scoped objects of two releases in two namespaces need two names. */}}
{{- define "pki.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "pki.fullname" .) }}
{{- end }}

{{- define "pki.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pki.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "pki.labels" -}}
{{ include "pki.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "pki.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "pki.secretPolicy" -}}
{{- printf "%s-secrets.%s.operatorkit.dev" (include "pki.fullname" .) .Release.Namespace }}
{{- end }}

{{- define "pki.webhookService" -}}
{{- printf "%s-webhook" (include "pki.fullname" . | trunc 55 | trimAll "-") }}
{{- end }}
