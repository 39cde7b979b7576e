{{- define "attestation.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-" }}
{{- end }}

{{- define "attestation.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimAll "-" }}
{{- else if contains (include "attestation.name" .) .Release.Name }}
{{- .Release.Name | replace "." "-" | trunc 63 | trimAll "-" }}
{{- else }}
{{- printf "%s-%s" (.Release.Name | replace "." "-") (include "attestation.name" .) | trunc 63 | trimAll "-" }}
{{- end }}
{{- end }}

{{- define "attestation.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "attestation.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* Cluster-scoped objects of two releases in two namespaces need two names. */}}
{{- define "attestation.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "attestation.fullname" .) }}
{{- end }}

{{- define "attestation.selectorLabels" -}}
app.kubernetes.io/name: {{ include "attestation.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "attestation.labels" -}}
{{ include "attestation.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "attestation.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "attestation.webhookService" -}}
{{- printf "%s-webhook" (include "attestation.fullname" . | trunc 55 | trimAll "-") }}
{{- end }}
