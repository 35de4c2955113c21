{{- define "millpond.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* Short enough that the pod's name and the headless Service's still fit into 63 characters. */}}
{{- define "millpond.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "millpond.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "millpond.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "millpond.selector" -}}
app.kubernetes.io/name: {{ include "millpond.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "millpond.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "millpond.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "millpond.accountFile" -}}
/run/millpond/accounts/{{ . }}/password
{{- end }}

{{- /* The whole configuration: the values' own, with what the chart decides over it. */}}
{{- define "millpond.config" -}}
{{- $config := deepCopy (.Values.config | default dict) }}
{{- $disk := merge (dict "folder" "/data") (get $config "disk" | default dict) }}
{{- $_ := set $config "disk" $disk }}
{{- $_ := set $config "listen" (printf "%s:5000" .Values.bind) }}
{{- $_ := set $config "admin" (dict "listen" (printf "%s:5001" .Values.bind)) }}
{{- if .Values.tls.secret }}
{{- $_ := set $config "tls" (dict "cert" "/run/millpond/tls/tls.crt" "key" "/run/millpond/tls/tls.key") }}
{{- end }}
{{- $upstreams := get $config "upstreams" | default dict }}
{{- range $at, $account := .Values.accounts }}
{{- $upstream := get $upstreams $account.upstream | default dict }}
{{- $entry := dict "username" $account.username "passwordFile" (include "millpond.accountFile" $at) }}
{{- if $account.repositories }}
{{- $_ := set $entry "repositories" $account.repositories }}
{{- end }}
{{- $_ := set $upstream "accounts" (append (get $upstream "accounts" | default list) $entry) }}
{{- $_ := set $upstreams $account.upstream $upstream }}
{{- end }}
{{- if $upstreams }}
{{- $_ := set $config "upstreams" $upstreams }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{- /* The address in the nodes' hosts.toml. */}}
{{- define "millpond.address" -}}
{{- $scheme := ternary "https" "http" (not (empty .Values.tls.secret)) }}
{{- if .Values.reach.address }}
{{- .Values.reach.address }}
{{- else if eq .Values.reach.kind "NodePort" }}
{{- printf "%s://ADDRESS-OF-A-NODE:%v" $scheme .Values.reach.nodePort }}
{{- else if eq .Values.reach.kind "hostPort" }}
{{- printf "%s://ADDRESS-OF-THE-PODS-NODE:%v" $scheme .Values.reach.hostPort }}
{{- else if eq .Values.reach.kind "LoadBalancer" }}
{{- printf "%s://ADDRESS-OF-THE-BALANCER:5000" $scheme }}
{{- else }}
{{- printf "%s://%s.%s.svc:5000" $scheme (include "millpond.fullname" .) .Release.Namespace }}
{{- end }}
{{- end }}
