{{/* What objects are called, and the labels they carry. Every template here takes the root context. */}}

{{- define "porter-outputs-syncer.name" -}}
{{- default .Chart.Name .Values.nameOverride | replace "." "-" | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* At most 50 characters, so that what is appended fits into a name of 63; without a dot, which separates below. */}}
{{- define "porter-outputs-syncer.fullname" -}}
{{- $name := include "porter-outputs-syncer.name" . }}
{{- $full := .Values.fullnameOverride | default (contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) }}
{{- $full | replace "." "-" | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "porter-outputs-syncer.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/* Of roles, which stand in others' namespaces, where two releases of one name may meet. */}}
{{- define "porter-outputs-syncer.roleName" -}}
{{- printf "%s.%s" (include "porter-outputs-syncer.namespace" .) (include "porter-outputs-syncer.fullname" .) }}
{{- end }}

{{- define "porter-outputs-syncer.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "porter-outputs-syncer.fullname" .) "default") }}
{{- end }}

{{- define "porter-outputs-syncer.apiServiceAccountName" -}}
{{- $own := printf "%s-api" (include "porter-outputs-syncer.fullname" .) }}
{{- .Values.api.serviceAccount.name | default (.Values.api.serviceAccount.create | ternary $own "default") }}
{{- end }}

{{- define "porter-outputs-syncer.image" -}}
{{- $image := .Values.image }}
{{- $repository := list $image.registry $image.repository | compact | join "/" }}
{{- if $image.digest }}
{{- printf "%s@%s" $repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{/* What selects the pods of one component: (dict "root" . "component" "controller" or "api"). */}}
{{- define "porter-outputs-syncer.selector" -}}
app.kubernetes.io/name: {{ include "porter-outputs-syncer.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "porter-outputs-syncer.labels" -}}
{{- $own := dict
      "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
      "app.kubernetes.io/name" (include "porter-outputs-syncer.name" .)
      "app.kubernetes.io/instance" .Release.Name
      "app.kubernetes.io/version" .Chart.AppVersion
      "app.kubernetes.io/managed-by" .Release.Service }}
{{- toYaml (merge $own .Values.commonLabels) }}
{{- end }}

{{/* "true" where an object of Prometheus' operator is to be rendered: (dict "root" . "settings" "value" "kind"). */}}
{{- define "porter-outputs-syncer.renders" -}}
{{- $known := .root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1" }}
{{- if and (eq .settings.renderMode "failIfMissing") (not $known) }}
{{- fail (printf "%s.renderMode: the cluster does not know %s (monitoring.coreos.com/v1)" .value .kind) }}
{{- end }}
{{- if or $known (eq .settings.renderMode "alwaysRender") }}true{{ end }}
{{- end }}
