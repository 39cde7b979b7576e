{{- define "attestation-server.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-" }}
{{- end }}

{{- define "attestation-server.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimAll "-" }}
{{- else if contains (include "attestation-server.name" .) .Release.Name }}
{{- .Release.Name | replace "." "-" | trunc 52 | trimAll "-" }}
{{- else }}
{{- printf "%s-%s" (.Release.Name | replace "." "-") (include "attestation-server.name" .) | trunc 52 | trimAll "-" }}
{{- end }}
{{- end }}

{{- define "attestation-server.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "attestation-server.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "attestation-server.selectorLabels" -}}
app.kubernetes.io/name: {{ include "attestation-server.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "attestation-server.labels" -}}
{{ include "attestation-server.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "attestation-server.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}
