{{- /* The text of config.yaml. Helm reads values as YAML 1.1, where a bare `on:` is the key true: of a map, that of routes is restored. */}}
{{- define "monitor.config" -}}
{{- $config := .Values.config -}}
{{- if kindIs "string" $config -}}
{{- $config -}}
{{- else -}}
{{- $config = deepCopy $config -}}
{{- range $route := ($config.routes | default list) -}}
{{- if and (kindIs "map" $route) (hasKey $route "true") -}}
{{- $_ := set $route "on" (get $route "true") -}}
{{- $_ := unset $route "true" -}}
{{- end -}}
{{- end -}}
{{- include "monitor.booleanless" (dict "at" "config" "of" $config) -}}
{{- toYaml $config -}}
{{- end -}}
{{- end }}

{{- define "monitor.booleanless" -}}
{{- $at := .at -}}
{{- if kindIs "map" .of -}}
{{- range $key, $value := .of -}}
{{- if has $key (list "true" "false") -}}
{{- fail (printf "%s has a key that YAML 1.1 reads as the boolean %s (a bare on, off, yes, no, true or false). Give the configuration as text: `config: |`, or --set-file config=FILE." $at $key) -}}
{{- end -}}
{{- include "monitor.booleanless" (dict "at" (printf "%s.%s" $at $key) "of" $value) -}}
{{- end -}}
{{- else if kindIs "slice" .of -}}
{{- range $place, $value := .of -}}
{{- include "monitor.booleanless" (dict "at" (printf "%s[%d]" $at $place) "of" $value) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* Several pods need a database that they can share. */}}
{{- define "monitor.replicable" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.postgresql.enabled) -}}
{{- fail "replicas: several pods cannot share an SQLite file; set postgresql.enabled, and store.url_file in the configuration" -}}
{{- end -}}
{{- if and .Values.postgresql.enabled (not .Values.existingConfigMap) (contains "sqlite:" (include "monitor.config" .)) -}}
{{- fail "postgresql.enabled: store.url of the configuration is still an SQLite file" -}}
{{- end -}}
{{- if and .Values.postgresql.enabled .Values.demo -}}
{{- fail "postgresql.enabled: the demo keeps its database in the pod" -}}
{{- end -}}
{{- end }}
