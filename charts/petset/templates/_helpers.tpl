{{- define "petset.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-" }}
{{- end }}

{{- define "petset.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimAll "-" }}
{{- else if contains (include "petset.name" .) .Release.Name }}
{{- .Release.Name | replace "." "-" | trunc 63 | trimAll "-" }}
{{- else }}
{{- printf "%s-%s" (.Release.Name | replace "." "-") (include "petset.name" .) | trunc 63 | trimAll "-" }}
{{- end }}
{{- end }}

{{- define "petset.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "petset.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* Cluster-scoped objects of two releases in two namespaces need two names. */}}
{{- define "petset.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "petset.fullname" .) }}
{{- end }}

{{- define "petset.selectorLabels" -}}
app.kubernetes.io/name: {{ include "petset.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "petset.labels" -}}
{{ include "petset.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "petset.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "petset.webhookService" -}}
{{- printf "%s-webhook" (include "petset.fullname" . | trunc 55 | trimAll "-") }}
{{- end }}
