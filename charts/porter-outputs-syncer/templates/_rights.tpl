{{/*
Which rights on the cluster the configuration needs, and where. A login by a kubeconfig needs none of ours.
Rights are gathered as {NAMESPACE: {secrets, events, customResources: true, restart: [RESOURCE]}}; "" is the cluster.
*/}}

{{/* "true" for settings that log in as the pod: (dict with kubeconfig, context). */}}
{{- define "porter-outputs-syncer.isOwnLogin" -}}
{{- if not (or .kubeconfig .context) }}true{{ end }}
{{- end }}

{{- define "porter-outputs-syncer.rights" -}}
{{- $config := .Values.config }}
{{- $events := dig "telemetry" "events" true $config }}
{{- $resourcesAt := include "porter-outputs-syncer.customResourceSink" . }}
{{- $rights := dict }}
{{- range $index, $sink := $config.sinks }}
{{- if and (eq $sink.kind "kubernetes") (include "porter-outputs-syncer.isOwnLogin" $sink) }}
{{- range $namespace := $sink.namespaces | default (list "") }}
{{- $here := get $rights $namespace | default (dict "secrets" true "restart" list) }}
{{- if $events }}{{ $_ := set $here "events" true }}{{ end }}
{{- if eq $sink.name $resourcesAt }}{{ $_ := set $here "customResources" true }}{{ end }}
{{- $_ := set $rights $namespace $here }}
{{- end }}
{{- range $rule := $config.rules }}
{{- range $target := $rule.targets }}
{{- if and (eq $target.sink $sink.name) $target.restart }}
{{- range $namespace := include "porter-outputs-syncer.targetNamespaces" (dict "config" $config "sink" $sink "rule" $rule "target" $target) | fromJsonArray }}
{{- $here := get $rights $namespace | default (dict "restart" list) }}
{{- range $target.restart }}
{{- $_ := set $here "restart" (append $here.restart (printf "%ss" (lower .kind)) | uniq | sortAlpha) }}
{{- end }}
{{- $_ := set $rights $namespace $here }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $rights }}
{{- end }}

{{/*
Where a target may write, as far as the configuration tells: the namespace it names, or those its rule's installations
come to; else wherever its sink may.
*/}}
{{- define "porter-outputs-syncer.targetNamespaces" -}}
{{- $allowed := .sink.namespaces | default (list "") }}
{{- $template := .target.namespace | default "{namespace}" }}
{{- $named := list }}
{{- if not (contains "{" $template) }}
{{- $named = list $template }}
{{- else if eq $template "{namespace}" }}
{{- $mapping := .config.namespaces | default dict }}
{{- range (.rule.match | default dict).namespaces | default (list "*") }}
{{- $name := get $mapping . | default . }}
{{- /* What is no name of a namespace is a glob, or is made one by the sink. The global one is held until it is mapped. */}}
{{- $isName := regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" $name }}
{{- $named = append $named (or $isName (not .) | ternary $name "*") }}
{{- end }}
{{- end }}
{{- if or (not $named) (has "*" $named) }}
{{- toJson $allowed }}
{{- else if .sink.namespaces }}
{{- $both := list }}
{{- range $named }}{{ if has . $allowed }}{{ $both = append $both . }}{{ end }}{{ end }}
{{- toJson ($both | uniq) }}
{{- else }}
{{- toJson (without $named "" | uniq) }}
{{- end }}
{{- end }}

{{- define "porter-outputs-syncer.customResourceSink" -}}
{{- $settings := .Values.config.customResources | default dict }}
{{- if $settings.enabled }}
{{- $fitting := list }}
{{- range .Values.config.sinks }}{{ if eq .kind "kubernetes" }}{{ $fitting = append $fitting .name }}{{ end }}{{ end }}
{{- $settings.sink | default (first $fitting) }}
{{- end }}
{{- end }}

{{/* The rules of a Role for the rights at one place. Each verb is used: docs/security.md says what for, tests/chart shows it. */}}
{{- define "porter-outputs-syncer.rules" -}}
{{- if .secrets }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, delete]
{{- end }}
{{- if .events }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
{{- if .customResources }}
- apiGroups: [outputs.porter.sh]
  resources: [installationoutputs]
  verbs: [get, list, create, update, delete]
- apiGroups: [outputs.porter.sh]
  resources: [installationoutputs/status]
  verbs: [update]
- apiGroups: [getporter.org]
  resources: [installations]
  verbs: [list]
{{- end }}
{{- if .restart }}
- apiGroups: [apps]
  resources: {{ toJson .restart }}
  verbs: [list, patch]
{{- end }}
{{- end }}

{{/* Namespaces in which Porter's secret store is read. */}}
{{- define "porter-outputs-syncer.storeNamespaces" -}}
{{- $secrets := .Values.config.source.secrets | default dict }}
{{- $namespaces := .Values.rbac.readSecretsIn }}
{{- if and (eq ($secrets.kind | default "") "kubernetes") (include "porter-outputs-syncer.isOwnLogin" $secrets) }}
{{- $namespaces = append $namespaces $secrets.namespace }}
{{- end }}
{{- toJson ($namespaces | uniq | sortAlpha) }}
{{- end }}

{{/* "true" where callers of the API are reviewed by this cluster. */}}
{{- define "porter-outputs-syncer.reviews" -}}
{{- if (include "porter-outputs-syncer.hasApi" .) }}
{{- $access := (include "porter-outputs-syncer.apiConfig" . | fromYaml).access | default dict }}
{{- if and (eq ($access.kind | default "") "kubernetes") (include "porter-outputs-syncer.isOwnLogin" $access) }}true{{ end }}
{{- end }}
{{- end }}

{{/* "true" where a Lease of this cluster decides who writes. */}}
{{- define "porter-outputs-syncer.hasLease" -}}
{{- $election := include "porter-outputs-syncer.election" . | fromYaml }}
{{- if and (eq $election.kind "lease") (include "porter-outputs-syncer.isOwnLogin" $election) }}true{{ end }}
{{- end }}

{{/* "true" where a login to Vault shows the pod's own token: takes the settings of a sink or store. */}}
{{- define "porter-outputs-syncer.showsToken" -}}
{{- $auth := .auth | default dict }}
{{- if and (eq .kind "vault") (eq $auth.method "kubernetes") (not $auth.tokenFile) }}true{{ end }}
{{- end }}

{{/* "true" where pods of the component need the service account's token: (dict "root" . "component" NAME). */}}
{{- define "porter-outputs-syncer.needsToken" -}}
{{- $root := .root }}
{{- $runs := eq .component "controller" }}
{{- $needs := include "porter-outputs-syncer.storeNamespaces" $root | fromJsonArray | len | lt 0 }}
{{- with $root.Values.config.source.secrets }}{{ if (include "porter-outputs-syncer.showsToken" .) }}{{ $needs = true }}{{ end }}{{ end }}
{{- if and (include "porter-outputs-syncer.reviews" $root) (ne $runs $root.Values.api.separate) }}{{ $needs = true }}{{ end }}
{{- if $runs }}
{{- if (include "porter-outputs-syncer.hasLease" $root) }}{{ $needs = true }}{{ end }}
{{- if include "porter-outputs-syncer.rights" $root | fromJson }}{{ $needs = true }}{{ end }}
{{- range $root.Values.config.sinks }}{{ if (include "porter-outputs-syncer.showsToken" .) }}{{ $needs = true }}{{ end }}{{ end }}
{{- end }}
{{- if $needs }}true{{ end }}
{{- end }}

{{/*
A role and its binding: (dict "root" . "namespace" NAMESPACE or "" for the cluster, "name", "rules" as text, "subjects"
as dicts with the names of service accounts).
*/}}
{{- define "porter-outputs-syncer.grant" -}}
{{- $prefix := .namespace | empty | ternary "Cluster" "" }}
{{- $labels := include "porter-outputs-syncer.labels" .root }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}Role
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- $labels | nindent 4 }}
rules: {{- .rules | trim | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}RoleBinding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- $labels | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: {{ $prefix }}Role, name: {{ .name }}}
subjects:
  {{- $home := include "porter-outputs-syncer.namespace" .root }}
  {{- range .subjects }}
  - {kind: ServiceAccount, name: {{ .name }}, namespace: {{ $home }}}
  {{- end }}
{{- end }}
