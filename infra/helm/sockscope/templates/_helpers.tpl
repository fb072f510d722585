{{- define "sockscope.image" -}}
{{- with .root.Values.image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}/{{ $.service }}:{{ .tag | default $.root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "sockscope.labels" -}}
app.kubernetes.io/name: sockscope
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end -}}

{{- define "sockscope.name" -}}
{{ .root.Release.Name }}-{{ .service }}
{{- end -}}

{{- define "sockscope.pod" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  seccompProfile: { type: RuntimeDefault }
automountServiceAccountToken: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- range . }}
  - name: {{ . }}{{ end }}
{{- end }}
{{- end -}}

{{- define "sockscope.container" -}}
image: {{ include "sockscope.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{- define "sockscope.env.kafka" -}}
- name: KAFKA_BROKERS
  value: {{ join "," .Values.kafka.brokers | quote }}
{{- range $name, $value := .Values.kafka.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "sockscope.env.clickhouse" -}}
- name: CLICKHOUSE_URL
  value: {{ .Values.clickhouse.url | quote }}
{{- range $name, $value := .Values.clickhouse.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "sockscope.env.own" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "sockscope.mounts" -}}
{{- if and .kafka .root.Values.kafka.secret }}
- { name: kafka, mountPath: /etc/sockscope/kafka, readOnly: true }
{{- end }}
{{- if and .clickhouse .root.Values.clickhouse.secret }}
- { name: clickhouse, mountPath: /etc/sockscope/clickhouse, readOnly: true }
{{- end }}
{{- end -}}

{{- define "sockscope.volumes" -}}
{{- if and .kafka .root.Values.kafka.secret }}
- name: kafka
  secret: { secretName: {{ .root.Values.kafka.secret }}, defaultMode: 288 }
{{- end }}
{{- if and .clickhouse .root.Values.clickhouse.secret }}
- name: clickhouse
  secret: { secretName: {{ .root.Values.clickhouse.secret }}, defaultMode: 288 }
{{- end }}
{{- end -}}

{{- define "sockscope.probes" -}}
livenessProbe:
  httpGet: { path: /healthz, port: ops }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: ops }
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}

{{- define "sockscope.leave" -}}
lifecycle:
  # The Service goes on sending clients for a moment after a pod began to end.
  preStop: { exec: { command: [sleep, '5'] } }
{{- end -}}
