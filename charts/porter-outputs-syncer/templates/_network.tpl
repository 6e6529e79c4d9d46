{{/* Which ports the configuration reaches: (dict "root" . "component" "controller" or "api"). */}}

{{/* Sinks and the secret store, as far as pods of the component reach them: a list of their settings. */}}
{{- define "porter-outputs-syncer.peers" -}}
{{- $peers := list }}
{{- with .root.Values.config.source.secrets }}{{ $peers = append $peers . }}{{ end }}
{{- if eq .component "controller" }}{{ $peers = concat $peers .root.Values.config.sinks }}{{ end }}
{{- toJson $peers }}
{{- end }}

{{- define "porter-outputs-syncer.egressPorts" -}}
{{- $values := .root.Values }}
{{- $ports := list }}
{{- $asksCluster := include "porter-outputs-syncer.needsToken" . | eq "true" }}
{{- range include "porter-outputs-syncer.peers" . | fromJsonArray }}
{{- if eq .kind "kubernetes" }}{{ $asksCluster = true }}{{ end }}
{{- if eq .kind "azure-keyvault" }}{{ $ports = append $ports 443 }}{{ end }}
{{- if eq .kind "vault" }}
{{- $host := (urlParse .address).host }}
{{- $ports = append $ports (regexFind "[0-9]+$" $host | default (hasPrefix "http:" .address | ternary "80" "443") | int) }}
{{- end }}
{{- end }}
{{- if eq $values.config.source.kind "mongodb" }}
{{- $url := $values.config.source.url }}
{{- $named := list }}
{{- if kindIs "string" $url }}
{{- $hosts := regexReplaceAll "^[a-z+]*://([^/?]*@)?([^/?]*).*$" $url "${2}" }}
{{- range splitList "," $hosts }}{{ $named = append $named (regexFind ":[0-9]+$" . | trimPrefix ":" | default "27017" | int) }}{{ end }}
{{- end }}
{{- $ports = concat $ports ($named | default $values.networkPolicy.databasePorts) }}
{{- else if eq $values.config.source.kind "porter" }}
{{- $ports = concat $ports $values.networkPolicy.databasePorts }}
{{- end }}
{{- if $asksCluster }}{{ $ports = concat $ports $values.networkPolicy.kubernetesPorts }}{{ end }}
{{- $numbers := list }}
{{- range $ports }}{{ $numbers = append $numbers (int .) }}{{ end }}
{{- toJson ($numbers | uniq) }}
{{- end }}

{{/* "true" where something logs in with a managed identity of the node. */}}
{{- define "porter-outputs-syncer.asksNode" -}}
{{- $asks := false }}
{{- range include "porter-outputs-syncer.peers" . | fromJsonArray }}
{{- if and (eq .kind "azure-keyvault") (eq .auth.method "managed-identity") }}{{ $asks = true }}{{ end }}
{{- end }}
{{- if $asks }}true{{ end }}
{{- end }}
