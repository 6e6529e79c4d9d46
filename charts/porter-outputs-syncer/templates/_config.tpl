{{/*
The configuration that is rendered: that of the values, and what only the cluster and the chart know.
*/}}

{{/*
The name in every mark: the same whenever this release is installed again in this namespace of this cluster, and
another one anywhere else. Where there is no cluster to ask, it has to be given.
*/}}
{{- define "porter-outputs-syncer.instance" -}}
{{- if .Values.config.instance }}
{{- .Values.config.instance }}
{{- else }}
{{- $system := lookup "v1" "Namespace" "" "kube-system" }}
{{- if not $system }}
{{- fail "config.instance: give this instance a name that stays: it is part of every mark, and made from the cluster only by `helm install` and `helm upgrade` (not by `helm template`, Argo CD or --dry-run=client)" }}
{{- end }}
{{- $place := printf "%s/%s/%s" $system.metadata.uid (include "porter-outputs-syncer.namespace" .) .Release.Name }}
{{- printf "%s-%s" (.Release.Name | trunc 50) (sha256sum $place | trunc 12) }}
{{- end }}
{{- end }}

{{- define "porter-outputs-syncer.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config "instance" (include "porter-outputs-syncer.instance" .) }}
{{- $_ := set $config "leaderElection" (include "porter-outputs-syncer.election" . | fromYaml) }}
{{- $telemetry := $config.telemetry | default dict }}
{{- if not (hasKey $telemetry "listen") }}{{ $_ := set $telemetry "listen" "0.0.0.0:9464" }}{{ end }}
{{- $_ := set $config "telemetry" $telemetry }}
{{- if .Values.api.separate }}
{{- $_ := unset $config "api" }}
{{- else if (include "porter-outputs-syncer.hasApi" .) }}
{{- $_ := set $config "api" (include "porter-outputs-syncer.apiConfig" . | fromYaml) }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{- define "porter-outputs-syncer.election" -}}
{{- $given := deepCopy (.Values.config.leaderElection | default (dict "kind" "lease")) }}
{{- if eq $given.kind "lease" }}
{{- $lease := dict "namespace" (include "porter-outputs-syncer.namespace" .) "name" (include "porter-outputs-syncer.fullname" .) }}
{{- $given = merge $given $lease }}
{{- end }}
{{- toYaml $given }}
{{- end }}

{{/* "true" where the API is served at all, by whichever pods. */}}
{{- define "porter-outputs-syncer.hasApi" -}}
{{- with .Values.config.api }}{{ if .enabled }}true{{ end }}{{ end }}
{{- end }}

{{/* "true" where others than the pod itself can reach it. */}}
{{- define "porter-outputs-syncer.apiIsExposed" -}}
{{- if (include "porter-outputs-syncer.hasApi" .) }}
{{- $listen := .Values.config.api.listen | default "0.0.0.0:3001" }}
{{- if not (regexMatch "^(127\\.|localhost:|\\[::1\\]:)" $listen) }}true{{ end }}
{{- end }}
{{- end }}

{{- define "porter-outputs-syncer.apiConfig" -}}
{{- $api := deepCopy .Values.config.api }}
{{- if (include "porter-outputs-syncer.apiIsExposed" .) }}
{{- $tls := dict "certificate" "/var/run/porter-outputs-syncer/tls/tls.crt" "key" "/var/run/porter-outputs-syncer/tls/tls.key" }}
{{- if or .Values.api.tls.clientCa.secretName .Values.api.tls.clientCa.configMapName }}
{{- $_ := set $tls "clientCa" (printf "/var/run/porter-outputs-syncer/client-ca/%s" .Values.api.tls.clientCa.key) }}
{{- end }}
{{- $api = merge $api (dict "listen" "0.0.0.0:3001" "tls" $tls "access" (dict "kind" "kubernetes")) }}
{{- end }}
{{- toYaml $api }}
{{- end }}

{{/*
What pods of a separate API read: the same source and API, but no sink, so that they need no login to any. A file has
to have a sink and a rule; these are never used.
*/}}
{{- define "porter-outputs-syncer.separateApiConfig" -}}
{{- $config := omit (include "porter-outputs-syncer.config" . | fromYaml) "leaderElection" "customResources" "guard" "resyncInterval" }}
{{- $_ := set $config "api" (include "porter-outputs-syncer.apiConfig" . | fromYaml) }}
{{- $_ := set $config "sinks" (list (dict "name" "unused" "kind" "file" "path" "/nonexistent")) }}
{{- $_ := set $config "rules" (list (dict "name" "unused" "targets" (list (dict "sink" "unused")))) }}
{{- toYaml $config }}
{{- end }}

{{- define "porter-outputs-syncer.metricsPort" -}}
{{- (include "porter-outputs-syncer.config" . | fromYaml).telemetry.listen | toString | regexFind "[0-9]+$" }}
{{- end }}

{{- define "porter-outputs-syncer.apiPort" -}}
{{- (include "porter-outputs-syncer.apiConfig" . | fromYaml).listen | toString | regexFind "[0-9]+$" }}
{{- end }}

{{/* The configuration before this upgrade, {} where there is none. */}}
{{- define "porter-outputs-syncer.former" -}}
{{- $former := lookup "v1" "ConfigMap" (include "porter-outputs-syncer.namespace" .) (include "porter-outputs-syncer.fullname" .) }}
{{- dig "data" "syncer.yaml" "{}" ($former | default dict) }}
{{- end }}

{{/*
Where secrets of this release are that its configuration reaches no longer, by what it was before this upgrade: sinks,
and namespaces of sinks, as a list of texts.
*/}}
{{- define "porter-outputs-syncer.left" -}}
{{- $left := list }}
{{- range (include "porter-outputs-syncer.former" . | fromYaml).sinks }}
{{- $sink := . }}
{{- $now := dict }}
{{- range $.Values.config.sinks }}{{ if eq .name $sink.name }}{{ $now = . }}{{ end }}{{ end }}
{{- if not $now }}
{{- $left = append $left (printf "sink %s" $sink.name) }}
{{- else if and $now.namespaces (eq $sink.kind "kubernetes") }}
{{- if not $sink.namespaces }}{{ $left = append $left (printf "all other namespaces of sink %s" $sink.name) }}{{ end }}
{{- range $sink.namespaces }}
{{- if not (has . $now.namespaces) }}{{ $left = append $left (printf "namespace %s of sink %s" . $sink.name) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $left }}
{{- end }}
