{{/* Labels of all objects. Call with (dict "root" $ "component" "nats"). */}}
{{- define "fleet.labels" -}}
{{ include "fleet.selector" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/part-of: harmony-fleet
{{- end }}

{{/* Labels that select a component's pods. They must never change: a StatefulSet cannot change its selector. */}}
{{- define "fleet.selector" -}}
app.kubernetes.io/name: harmony-fleet
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* "true" on OpenShift and OKD, which choose users and groups themselves. */}}
{{- define "fleet.openshift" -}}
{{- if eq (toString .Values.openshift) "auto" }}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" }}true{{ end }}
{{- else if eq (toString .Values.openshift) "true" }}true{{ end }}
{{- end }}

{{/* securityContext of each pod: Pod Security "restricted". */}}
{{- define "fleet.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- if not (include "fleet.openshift" .) }}
{{- with .Values.podSecurity.runAsUser }}
runAsUser: {{ int64 . }}
{{- end }}
{{- if not (kindIs "invalid" .Values.podSecurity.runAsGroup) }}
runAsGroup: {{ int64 .Values.podSecurity.runAsGroup }}
{{- end }}
{{- with .Values.podSecurity.fsGroup }}
fsGroup: {{ int64 . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
{{- end }}
{{- end }}

{{/* securityContext of each container. */}}
{{- define "fleet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What all pods share. */}}
{{- define "fleet.pod" -}}
enableServiceLinks: false
securityContext:
  {{- include "fleet.podSecurity" . | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Where pods of a component go. Call with (dict "component" … "hosts" DoNotSchedule|ScheduleAnyway). */}}
{{- define "fleet.spread" -}}
{{- $selector := include "fleet.selector" . -}}
- topologyKey: kubernetes.io/hostname
  maxSkew: 1
  whenUnsatisfiable: {{ .hosts }}
  {{- if and .hostsApart (eq .hosts "DoNotSchedule") }}
  minDomains: {{ .hostsApart }}
  {{- end }}
  labelSelector:
    matchLabels:
      {{- $selector | nindent 6 }}
- topologyKey: topology.kubernetes.io/zone
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- $selector | nindent 6 }}
{{- end }}

{{/* "true" where NATS itself ends the TLS of WebSockets. */}}
{{- define "fleet.websocketTLS" -}}
{{- $d := .Values.devices -}}
{{- if eq (toString $d.websocketTLS) "auto" }}
{{- if or (has $d.expose (list "none" "nodePort" "loadBalancer")) (and (eq $d.expose "route") (ne $d.route.termination "edge")) }}true{{ end }}
{{- else if eq (toString $d.websocketTLS) "true" }}true{{ end }}
{{- end }}

{{/* Mebibytes of a size such as 50Gi. */}}
{{- define "fleet.mebibytes" -}}
{{- $n := regexFind "^[0-9]+" . | int64 -}}
{{- if hasSuffix "Ti" . }}{{ mul $n 1048576 }}{{ else if hasSuffix "Gi" . }}{{ mul $n 1024 }}{{ else }}{{ $n }}{{ end }}
{{- end }}

{{/* Mebibytes that JetStream may take of each server's volume: nine tenths, unless a value says it. */}}
{{- define "fleet.maxFile" -}}
{{- $s := .Values.nats.storage -}}
{{- $size := include "fleet.mebibytes" $s.size | int64 -}}
{{- $max := div (mul $size 9) 10 -}}
{{- if $s.maxFile }}{{ $max = include "fleet.mebibytes" $s.maxFile | int64 }}{{ end }}
{{- if ge $max $size }}
{{- fail (printf "nats.storage.maxFile is %s, and must be less than nats.storage.size (%s): a full volume stops NATS. Leave it empty for nine tenths of the size." $s.maxFile $s.size) }}
{{- end }}
{{- $max }}
{{- end }}

{{/* Replicas of each stream. */}}
{{- define "fleet.streamReplicas" -}}
{{ min (int .Values.nats.replicas) 3 }}
{{- end }}

{{/* Whether something is to be made: "true", "false", or "auto", which asks for an API. Call with (dict "root" $ "value" … "api" …). */}}
{{- define "fleet.wanted" -}}
{{- if eq (toString .value) "auto" }}
{{- if .root.Capabilities.APIVersions.Has .api }}true{{ end }}
{{- else if eq (toString .value) "true" }}true{{ end }}
{{- end }}

{{/* TCP port of a URL. */}}
{{- define "fleet.urlPort" -}}
{{- $u := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $u.host | trimPrefix ":" -}}
{{- if $port }}{{ $port }}{{ else if eq $u.scheme "http" }}80{{ else }}443{{ end }}
{{- end }}

{{/* How the dashboard is served: "" (not), "loopback", "signIn" or "open". It refuses half a configuration. */}}
{{- define "fleet.dashboard" -}}
{{- $d := .Values.operator.dashboard -}}
{{- range .Values.operator.env }}
{{- if and $d.enabled (hasPrefix "FLEET_DASHBOARD" .name) }}
{{- fail (printf "operator.env sets %s, and operator.dashboard does: take it out of operator.env." .name) }}
{{- else if and (eq .name "FLEET_DASHBOARD") (hasSuffix ":18082" (toString .value)) }}
{{- fail "operator.env sets FLEET_DASHBOARD to port 18082, which is that of the operator's metrics and probes. Take it out of operator.env, and set operator.dashboard.enabled=true: the dashboard is at port 18080." }}
{{- end }}
{{- end }}
{{- if $d.enabled }}
{{- if and $d.openToTheNetwork (or $d.url $d.clientID) }}
{{- fail "operator.dashboard.openToTheNetwork=true and a sign-in (url, clientID) exclude each other: with a sign-in the dashboard listens to the network by itself." }}
{{- else if and $d.url (not $d.clientID) }}
{{- fail "operator.dashboard.clientID is missing: the client id of the dashboard's application at the identity provider. fleetctl zitadel setup --dashboard-url makes the application and prints its id." }}
{{- else if and $d.clientID (not $d.url) }}
{{- fail "operator.dashboard.url is missing: the address by which persons open the dashboard, such as https://fleet.example.com." }}
{{- else if and $d.url (not .Values.callout.enabled) }}
{{- fail "operator.dashboard.url needs callout.enabled=true: the auth callout decides who may sign in to the dashboard. Without url and clientID the dashboard is reached by kubectl port-forward." }}
{{- else if and $d.clientSecret.name (not $d.url) }}
{{- fail "operator.dashboard.clientSecret needs operator.dashboard.url and operator.dashboard.clientID: it is for the sign-in." }}
{{- else if and $d.ingress.enabled (not (or $d.url $d.openToTheNetwork)) }}
{{- fail "operator.dashboard.ingress.enabled needs operator.dashboard.url and operator.dashboard.clientID: without a sign-in the dashboard listens on the pod's loopback, where no Ingress reaches it." }}
{{- end }}
{{- $host := "" }}
{{- if $d.url }}{{ $host = (urlParse $d.url).hostname }}{{ end }}
{{- if and $d.ingress.enabled $host $d.ingress.host (ne $host $d.ingress.host) }}
{{- fail (printf "operator.dashboard.ingress.host is %s, and operator.dashboard.url names %s: the dashboard answers to the name of its url alone. Leave ingress.host empty." $d.ingress.host $host) }}
{{- else if and $d.ingress.enabled (not (or $host $d.ingress.host)) }}
{{- fail "operator.dashboard.ingress.host is missing: the name by which persons reach the dashboard, such as fleet.example.com." }}
{{- end }}
{{- if $d.url }}signIn{{ else if $d.openToTheNetwork }}open{{ else }}loopback{{ end }}
{{- end }}
{{- end }}

{{/* Settings of the callout: the flags of fleet-callout, as TOML. */}}
{{- define "fleet.calloutConfig" -}}
{{- $c := .Values.callout -}}
nats-url = {{ printf "tls://fleet-nats.%s.svc:4222" .Release.Namespace | quote }}
nats-ca-file = "/etc/fleet/ca/ca.crt"
issuer-seed-file = "/etc/fleet/seeds/issuer.seed{{ if $c.previousSeeds }},/etc/fleet/seeds/issuer-previous.seed{{ end }}"
xkey-seed-file = "/etc/fleet/seeds/xkey.seed{{ if $c.previousSeeds }},/etc/fleet/seeds/xkey-previous.seed{{ end }}"
issuer = {{ $c.issuer | toJson }}
project = {{ $c.project | toJson }}
device-organization = {{ $c.deviceOrganization | toJson }}
organizations = {{ $c.organizations | toJson }}
{{- if $c.issuerCA }}
issuer-ca-file = "/etc/fleet/issuer-ca/ca.crt"
{{- end }}
{{- if $c.introspection }}
introspection-key-file = "/etc/fleet/introspection/key.json"
{{- end }}
{{- with $c.roles }}
roles = {{ . | toJson }}
{{- end }}
{{- range $name, $key := dict "device-role" "deviceRole" "device-id" "deviceID" "keys-url" "keysURL" "introspection-url" "introspectionURL" "log-level" "logLevel" }}
{{- with index $c $key }}
{{ $name }} = {{ . | toJson }}
{{- end }}
{{- end }}
listen = ":18081"
{{- end }}
