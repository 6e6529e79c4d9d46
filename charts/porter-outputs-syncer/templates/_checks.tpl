{{/*
Mistakes that values.schema.json cannot see, each refused with the value it is about. What only the syncer itself can
tell (addresses, keys, templates) it says when it starts, or with `syncer config check`.
*/}}

{{- define "porter-outputs-syncer.check" -}}
{{- include "porter-outputs-syncer.checkSinks" . }}
{{- include "porter-outputs-syncer.checkTargets" . }}
{{- include "porter-outputs-syncer.checkSource" . }}
{{- include "porter-outputs-syncer.checkApi" . }}
{{- include "porter-outputs-syncer.checkProcess" . }}
{{- include "porter-outputs-syncer.checkReferences" (dict "root" . "value" .Values.config "path" "config") }}
{{- end }}

{{- define "porter-outputs-syncer.checkSinks" -}}
{{- $names := list }}
{{- $here := "" }}
{{- range $index, $sink := .Values.config.sinks }}
{{- if has $sink.name $names }}
{{- fail (printf "config.sinks[%d].name: another sink is called %q" $index $sink.name) }}
{{- end }}
{{- $names = append $names $sink.name }}
{{- $isOwn := include "porter-outputs-syncer.isOwnLogin" $sink }}
{{- if and (eq $sink.kind "kubernetes") $isOwn $.Values.rbac.create (not $.Values.rbac.clusterWide) (not $sink.namespaces) }}
{{- fail (printf "config.sinks[%d].namespaces: list the namespaces that secrets go to, for a Role in each; or set rbac.clusterWide: true, for rights on all Secrets of the cluster" $index) }}
{{- end }}
{{- if and (eq $sink.kind "kubernetes") $isOwn }}
{{- if $here }}
{{- fail (printf "config.sinks[%d]: is the same cluster as the sink %q: list its namespaces there" $index $here) }}
{{- end }}
{{- $here = $sink.name }}
{{- end }}
{{- if eq $sink.kind "file" }}
{{- include "porter-outputs-syncer.checkMounted" (dict "root" $ "path" $sink.path "setting" (printf "config.sinks[%d].path" $index)) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "porter-outputs-syncer.checkTargets" -}}
{{- $names := list }}
{{- range .Values.config.sinks }}{{ $names = append $names .name }}{{ end }}
{{- range $index, $rule := .Values.config.rules }}
{{- range $place, $target := $rule.targets }}
{{- if not (has $target.sink $names) }}
{{- fail (printf "config.rules[%d].targets[%d].sink: no sink is called %q" $index $place $target.sink) }}
{{- end }}
{{- end }}
{{- end }}
{{- $settings := .Values.config.customResources | default dict }}
{{- if $settings.enabled }}
{{- $fitting := list }}
{{- range .Values.config.sinks }}{{ if eq .kind "kubernetes" }}{{ $fitting = append $fitting .name }}{{ end }}{{ end }}
{{- if and $settings.sink (not (has $settings.sink $fitting)) }}
{{- fail "config.customResources.sink: is no sink of kind kubernetes" }}
{{- end }}
{{- if and (not $settings.sink) (ne (len $fitting) 1) }}
{{- fail (printf "config.customResources.sink: name one sink of kind kubernetes; there are %d" (len $fitting)) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "porter-outputs-syncer.checkSource" -}}
{{- $source := .Values.config.source }}
{{- if and (kindIs "string" $source.url) (regexMatch "://[^/@]*:[^/@]*@" (toString $source.url)) }}
{{- fail "config.source.url: holds a password, and the ConfigMap would: give {env: NAME} or {file: PATH} and the Secret in credentials" }}
{{- end }}
{{- if eq $source.kind "dump" }}
{{- include "porter-outputs-syncer.checkMounted" (dict "root" . "path" $source.path "setting" "config.source.path") }}
{{- end }}
{{- with $source.secrets }}
{{- if eq .kind "filesystem" }}
{{- include "porter-outputs-syncer.checkMounted" (dict "root" $ "path" .path "setting" "config.source.secrets.path") }}
{{- end }}
{{- end }}
{{- end }}

{{/* A folder of the container's own is empty, and cannot be written to. */}}
{{- define "porter-outputs-syncer.checkMounted" -}}
{{- $path := .path }}
{{- $mounted := false }}
{{- range .root.Values.extraVolumeMounts }}
{{- if or (eq $path .mountPath) (hasPrefix (printf "%s/" (trimSuffix "/" .mountPath)) $path) }}{{ $mounted = true }}{{ end }}
{{- end }}
{{- if not $mounted }}
{{- fail (printf "%s: no volume is mounted there: add it to extraVolumes and extraVolumeMounts, as an absolute path" .setting) }}
{{- end }}
{{- end }}

{{- define "porter-outputs-syncer.checkApi" -}}
{{- $tls := .Values.api.tls }}
{{- if and .Values.api.separate (not (include "porter-outputs-syncer.hasApi" .)) }}
{{- fail "api.separate: takes config.api.enabled: true" }}
{{- end }}
{{- if and $tls.existingSecret $tls.certManager.enabled }}
{{- fail "api.tls.existingSecret: takes the place of api.tls.certManager: give one of them" }}
{{- end }}
{{- if and $tls.certManager.enabled (not $tls.certManager.issuerRef.name) }}
{{- fail "api.tls.certManager.issuerRef.name: name the Issuer (or, with kind, the ClusterIssuer)" }}
{{- end }}
{{- if and $tls.clientCa.secretName $tls.clientCa.configMapName }}
{{- fail "api.tls.clientCa.configMapName: takes the place of secretName: give one of them" }}
{{- end }}
{{- if (include "porter-outputs-syncer.apiIsExposed" .) }}
{{- $own := .Values.config.api.tls | default dict }}
{{- if not (or $own.certificate $tls.existingSecret $tls.certManager.enabled) }}
{{- fail "api.tls.existingSecret: the API takes a certificate: name a Secret with one, or set api.tls.certManager.enabled, or config.api.tls to files of your own" }}
{{- end }}
{{- $api := include "porter-outputs-syncer.apiConfig" . | fromYaml }}
{{- if and (eq $api.access.kind "certificates") (not $api.tls.clientCa) }}
{{- fail "api.tls.clientCa.secretName: config.api.access by certificates takes the authorities of the clients" }}
{{- end }}
{{- if eq $api.access.kind "loopback" }}
{{- fail "config.api.access.kind: loopback is for an API that only its own pod reaches: set config.api.listen to 127.0.0.1:3001, or access to kubernetes or certificates" }}
{{- end }}
{{- else if .Values.api.separate }}
{{- fail "config.api.listen: nobody could reach a separate API there; leave it out" }}
{{- end }}
{{- end }}

{{- define "porter-outputs-syncer.checkProcess" -}}
{{- $config := include "porter-outputs-syncer.config" . | fromYaml }}
{{- if and (gt (int .Values.replicas) 1) (ne $config.leaderElection.kind "lease") }}
{{- fail (printf "replicas: %d pods need config.leaderElection.kind: lease (or leave it out)" (int .Values.replicas)) }}
{{- end }}
{{- $listen := $config.telemetry.listen | default "" }}
{{- if not (regexMatch "^(0\\.0\\.0\\.0|\\[::\\]):[0-9]+$" $listen) }}
{{- fail "config.telemetry.listen: the kubelet and Prometheus have to reach it: leave it out, or give 0.0.0.0:PORT or [::]:PORT" }}
{{- end }}
{{- end }}

{{/* Every {env: NAME} in the configuration is set, as far as that can be told here. */}}
{{- define "porter-outputs-syncer.checkReferences" -}}
{{- $root := .root }}
{{- $path := .path }}
{{- if kindIs "slice" .value }}
{{- range $index, $value := .value }}
{{- include "porter-outputs-syncer.checkReferences" (dict "root" $root "value" $value "path" (printf "%s[%d]" $path $index)) }}
{{- end }}
{{- else if kindIs "map" .value }}
{{- if and (eq (len .value) 1) (hasKey .value "env") }}
{{- if kindIs "string" .value.env }}
{{- include "porter-outputs-syncer.checkVariable" . }}
{{- end }}
{{- else }}
{{- range $name, $value := .value }}
{{- include "porter-outputs-syncer.checkReferences" (dict "root" $root "value" $value "path" (printf "%s.%s" $path $name)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "porter-outputs-syncer.checkVariable" -}}
{{- $known := list }}
{{- range .root.Values.credentials }}{{ $known = append $known (.env | default "") }}{{ end }}
{{- range .root.Values.extraEnv }}{{ $known = append $known .name }}{{ end }}
{{- if not (or (has .value.env $known) .root.Values.extraEnvFrom) }}
{{- fail (printf "%s.env: nothing sets %s: add {secretName, key, env: %s} to credentials" .path .value.env .value.env) }}
{{- end }}
{{- end }}
