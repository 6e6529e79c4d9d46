{{/* The pods of both components: (dict "root" . "component" "controller" or "api"). */}}

{{- define "porter-outputs-syncer.podSpec" -}}
{{- $values := .root.Values }}
{{- $isApi := eq .component "api" }}
serviceAccountName: {{ include ($isApi | ternary "porter-outputs-syncer.apiServiceAccountName" "porter-outputs-syncer.serviceAccountName") .root }}
{{- $needsToken := include "porter-outputs-syncer.needsToken" . | eq "true" }}
automountServiceAccountToken: {{ kindIs "bool" $values.serviceAccount.automount | ternary $values.serviceAccount.automount $needsToken }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
securityContext: {{- toYaml $values.podSecurityContext | nindent 2 }}
{{- range $name := list "imagePullSecrets" "initContainers" "hostAliases" "nodeSelector" "tolerations" "affinity" "dnsConfig" }}
{{- with get $values $name }}
{{ $name }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- range $name := list "priorityClassName" "dnsPolicy" "runtimeClassName" }}
{{- with get $values $name }}
{{ $name }}: {{ . }}
{{- end }}
{{- end }}
{{- if kindIs "bool" $values.hostUsers }}
hostUsers: {{ $values.hostUsers }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
{{- range . }}
  - {{ merge (dict) . (dict "labelSelector" (dict "matchLabels" (include "porter-outputs-syncer.selector" $ | fromYaml))) | toYaml | nindent 4 | trim }}
{{- end }}
{{- end }}
containers:
  - name: syncer
    {{- include "porter-outputs-syncer.container" . | nindent 4 }}
    args: {{ concat (list ($isApi | ternary "api" "run") "--config" "/etc/porter-outputs-syncer/syncer.yaml" "--log-level" $values.logLevel) $values.extraArgs | toJson }}
    ports:
      - {name: metrics, containerPort: {{ include "porter-outputs-syncer.metricsPort" .root }}, protocol: TCP}
    {{- if include "porter-outputs-syncer.servesApi" . }}
      - {name: grpc, containerPort: {{ include "porter-outputs-syncer.apiPort" .root }}, protocol: TCP}
    {{- end }}
    startupProbe: {{- merge (dict "httpGet" (dict "path" "/healthz" "port" "metrics")) $values.startupProbe | toYaml | nindent 6 }}
    livenessProbe: {{- merge (dict "httpGet" (dict "path" "/healthz" "port" "metrics")) $values.livenessProbe | toYaml | nindent 6 }}
    readinessProbe: {{- merge (dict "httpGet" (dict "path" "/readyz" "port" "metrics")) $values.readinessProbe | toYaml | nindent 6 }}
    resources: {{- ($isApi | ternary $values.api.resources nil) | default $values.resources | toYaml | nindent 6 }}
  {{- with $values.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumes: {{- include "porter-outputs-syncer.volumes" . | nindent 2 }}
{{- end }}

{{/* "true" where pods of the component serve an API that others reach. */}}
{{- define "porter-outputs-syncer.servesApi" -}}
{{- if and (include "porter-outputs-syncer.apiIsExposed" .root) (eq .root.Values.api.separate (eq .component "api")) }}true{{ end }}
{{- end }}

{{/* What a container needs to run any command over the configuration. */}}
{{- define "porter-outputs-syncer.container" -}}
{{- $isApi := eq .component "api" -}}
image: {{ include "porter-outputs-syncer.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext: {{- toYaml .root.Values.securityContext | nindent 2 }}
{{- $env := list }}
{{- range .root.Values.credentials }}
{{- if and .env (not (and $isApi (eq (toString .api) "false"))) }}
{{- $env = append $env (dict "name" .env "valueFrom" (dict "secretKeyRef" (dict "name" .secretName "key" .key))) }}
{{- end }}
{{- end }}
{{- $own := list }}
{{- range .root.Values.extraEnv }}{{ $own = append $own .name }}{{ end }}
{{- if and (include "porter-outputs-syncer.hasApi" .root) (eq .root.Values.api.separate $isApi) (not (has "GRPC_VERBOSITY" $own)) }}
{{- /* Its library in C has a log of its own, with lines about whoever fails to speak TLS. */}}
{{- $env = append $env (dict "name" "GRPC_VERBOSITY" "value" "NONE") }}
{{- end }}
{{- with concat $env .root.Values.extraEnv }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.extraEnvFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts: {{- include "porter-outputs-syncer.mounts" . | nindent 2 }}
{{- end }}

{{- define "porter-outputs-syncer.mounts" -}}
{{- $isApi := eq .component "api" -}}
- {name: config, mountPath: /etc/porter-outputs-syncer, readOnly: true}
{{- range $index, $one := .root.Values.credentials }}
{{- if not (or $one.env (and $isApi (eq (toString $one.api) "false"))) }}
- {name: credentials-{{ $index }}, mountPath: {{ $one.mountPath | default (printf "/var/run/porter-outputs-syncer/credentials/%s" $one.secretName) | quote }}, readOnly: true}
{{- end }}
{{- end }}
{{- if include "porter-outputs-syncer.servesApi" . }}
{{- if not (.root.Values.config.api.tls | default dict).certificate }}
- {name: tls, mountPath: /var/run/porter-outputs-syncer/tls, readOnly: true}
{{- end }}
{{- if or .root.Values.api.tls.clientCa.secretName .root.Values.api.tls.clientCa.configMapName }}
- {name: client-ca, mountPath: /var/run/porter-outputs-syncer/client-ca, readOnly: true}
{{- end }}
{{- end }}
{{- if include "porter-outputs-syncer.needsTmp" .root }}
- {name: tmp, mountPath: /tmp}
{{- end }}
{{- with .root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "porter-outputs-syncer.volumes" -}}
{{- $fullname := include "porter-outputs-syncer.fullname" .root }}
{{- $isApi := eq .component "api" }}
{{- $tls := .root.Values.api.tls -}}
- name: config
  configMap: {name: {{ $isApi | ternary (printf "%s-api" $fullname) $fullname }}}
{{- range $index, $one := .root.Values.credentials }}
{{- if not (or $one.env (and $isApi (eq (toString $one.api) "false"))) }}
- name: credentials-{{ $index }}
  secret:
    secretName: {{ $one.secretName }}
    defaultMode: 0440
    {{- with $one.items }}
    items: {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end }}
{{- end }}
{{- if include "porter-outputs-syncer.servesApi" . }}
{{- if not (.root.Values.config.api.tls | default dict).certificate }}
- name: tls
  secret: {secretName: {{ $tls.existingSecret | default (printf "%s-api-tls" $fullname) }}, defaultMode: 0440}
{{- end }}
{{- if $tls.clientCa.secretName }}
- name: client-ca
  secret: {secretName: {{ $tls.clientCa.secretName }}, defaultMode: 0440}
{{- else if $tls.clientCa.configMapName }}
- name: client-ca
  configMap: {name: {{ $tls.clientCa.configMapName }}}
{{- end }}
{{- end }}
{{- if include "porter-outputs-syncer.needsTmp" .root }}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
"true" where something writes below /tmp: certificates out of a kubeconfig are laid down there, and so is the lock of
an election by file. In memory, because a key may be among them.
*/}}
{{- define "porter-outputs-syncer.needsTmp" -}}
{{- $config := toJson .Values.config }}
{{- if or (contains "\"kubeconfig\":\"" $config) (eq (include "porter-outputs-syncer.election" . | fromYaml).kind "file") }}true{{ end }}
{{- end }}

{{/* NB: what selects the pods wins over labels of the user's. */}}
{{- define "porter-outputs-syncer.podLabels" -}}
{{- $selector := include "porter-outputs-syncer.selector" . | fromYaml }}
{{- toYaml (merge $selector .root.Values.podLabels (include "porter-outputs-syncer.labels" .root | fromYaml)) }}
{{- end }}
