{{/* The release's name, which is enough where it says what it is. */}}
{{- define "edge-sync.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "edge-sync.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* What chooses the pods of a component: (dict "root" $ "component" "sync"). */}}
{{- define "edge-sync.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* What chooses the pods that reach out: the runs, and the tool that looks in their place. */}}
{{- define "edge-sync.selectorOfClients" -}}
matchLabels:
  app.kubernetes.io/name: {{ .Chart.Name }}
  app.kubernetes.io/instance: {{ .Release.Name }}
matchExpressions:
  - key: app.kubernetes.io/component
    operator: In
    values: [sync, doctor]
{{- end -}}

{{/* A value as the text of a setting. Helm reads whole numbers as floats, and would write 1000000 as 1e+06. */}}
{{- define "edge-sync.text" -}}
{{- if kindIs "slice" . -}}
{{- range $at, $part := . -}}{{ if $at }},{{ end }}{{ include "edge-sync.text" $part }}{{- end -}}
{{- else if or (kindIs "float64" .) (kindIs "int" .) (kindIs "int64" .) -}}
{{- int64 . | toString -}}
{{- else -}}
{{- . | toString -}}
{{- end -}}
{{- end -}}

{{- define "edge-sync.secretName" -}}
{{- .Values.existingSecret | default (printf "%s-secret" (include "edge-sync.fullname" .)) -}}
{{- end -}}

{{/* Not empty if there is something for Spin's runtime configuration to say. */}}
{{- define "edge-sync.runtimeConfig" -}}
{{- if or .Values.redis.enabled .Values.clientTls.existingSecret -}}yes{{- end -}}
{{- end -}}

{{/* Not empty if somebody else's Secret says it. */}}
{{- define "edge-sync.foreignRuntimeConfig" -}}
{{- if and .Values.redis.enabled .Values.redis.existingSecret -}}yes{{- end -}}
{{- end -}}

{{- define "edge-sync.runtimeConfigName" -}}
{{- if include "edge-sync.foreignRuntimeConfig" . -}}
{{- .Values.redis.existingSecret -}}
{{- else -}}
{{- printf "%s-runtime-config" (include "edge-sync.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* The host of an origin, without its port. */}}
{{- define "edge-sync.host" -}}
{{- regexReplaceAll "^[a-z]+://(.*@)?([^/:@]*).*$" . "${2}" -}}
{{- end -}}

{{/* Not empty if the chart starts a Redis. */}}
{{- define "edge-sync.ownRedis" -}}
{{- if and .Values.redis.enabled (not .Values.redis.url) (not .Values.redis.existingSecret) -}}yes{{- end -}}
{{- end -}}

{{/* Not empty if the state is on a volume of the Deployment. */}}
{{- define "edge-sync.ownVolume" -}}
{{- if and (eq .Values.kind "Deployment") (not .Values.redis.enabled) .Values.volume.enabled -}}yes{{- end -}}
{{- end -}}

{{- define "edge-sync.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* What is missing, all of it at once: a run would only say so after the installation. */}}
{{- define "edge-sync.check" -}}
{{- $problems := list -}}
{{- $s := .Values.settings -}}
{{- if not .Values.image.repository -}}
{{- $problems = append $problems "image.repository: where the application was pushed to" -}}
{{- end -}}
{{- if not $s.cf_account_id -}}
{{- $problems = append $problems "settings.cf_account_id: the Cloudflare account" -}}
{{- end -}}
{{- if not (or $s.cf_ban_list_id $s.cf_captcha_list_id $s.cf_kv_namespace_id) -}}
{{- $problems = append $problems "settings.cf_ban_list_id, cf_captcha_list_id, cf_kv_namespace_id: one of them at least" -}}
{{- end -}}
{{- if not .Values.existingSecret -}}
{{- range $name, $value := .Values.secrets -}}
{{- if not $value -}}
{{- $problems = append $problems (printf "secrets.%s, or existingSecret" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.clientTls.clientCertificate (not .Values.clientTls.existingSecret) -}}
{{- $problems = append $problems "clientTls.existingSecret: the Secret with the client certificate" -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\nThese values are missing:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}

{{/* The pod of a run, or of Spin: the parts that a CronJob and a Deployment share. */}}
{{- define "edge-sync.environment" -}}
envFrom:
  - configMapRef:
      name: {{ include "edge-sync.fullname" . }}-settings
  - secretRef:
      name: {{ include "edge-sync.secretName" . }}
{{- end -}}

{{- define "edge-sync.runtimeConfigMount" -}}
- name: runtime-config
  mountPath: /runtime-config.toml
  subPath: runtime-config.toml
  readOnly: true
{{- if .Values.clientTls.existingSecret }}
- name: client-tls
  mountPath: /client-tls
  readOnly: true
{{- end }}
{{- end -}}

{{- define "edge-sync.runtimeConfigVolume" -}}
- name: runtime-config
  secret:
    secretName: {{ include "edge-sync.runtimeConfigName" . }}
{{- with .Values.clientTls.existingSecret }}
- name: client-tls
  secret:
    secretName: {{ . }}
{{- end }}
{{- end -}}

{{- define "edge-sync.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
A rule of a NetworkPolicy for an origin http://service.namespace.svc…:port, and nothing for any other: those are
public, or extraEgress says more about them than a name does. Not by urlParse, whose complaint would show a password.
*/}}
{{- define "edge-sync.egressTo" -}}
{{- $host := include "edge-sync.host" . -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" (regexReplaceAll "^[a-z]+://(.*@)?([^/@]*).*$" . "${2}")) -}}
{{- if and (regexMatch "^[^.]+[.][^.]+([.]svc([.].+)?)?$" $host) (not (hasSuffix ".invalid" $host)) -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ index (splitList "." $host) 1 }}
  ports:
    - protocol: TCP
      port: {{ $port | default (ternary "443" "80" (hasPrefix "https:" .)) }}
{{- end -}}
{{- end -}}
