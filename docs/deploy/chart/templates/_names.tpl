{{- define "jit.name" -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "jit.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "jit.labels" -}}
{{ include "jit.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "jit.account" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "jit.name" .) .Values.serviceAccount.name }}
{{- else -}}
{{ required "serviceAccount.name is needed if none is created" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- /* What cannot work is refused when the chart is rendered. */ -}}
{{- define "jit.check" -}}
{{- $_ := required "config.issuer is needed: who may sign in" .Values.config.issuer -}}
{{- $_ := required "config.client_id is needed: jit at the issuer" .Values.config.client_id -}}
{{- if not (or .Values.tlsSecret .Values.config.behind_proxy) -}}
{{- fail "set tlsSecret, or config.behind_proxy if something in front terminates TLS" -}}
{{- end -}}
{{- if gt (int .Values.replicas) 1 -}}
{{- $_ := required "more than one replica needs config.database" .Values.config.database -}}
{{- $_ := required "more than one replica needs config.recordings" .Values.config.recordings -}}
{{- if not (or .Values.sealingKeySecret .Values.config.secrets_url) -}}
{{- fail "more than one replica needs sealingKeySecret or config.secrets_url" -}}
{{- end -}}
{{- end -}}
{{- end -}}
