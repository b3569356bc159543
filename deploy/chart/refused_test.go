package chart_test

import (
	"strings"
	"testing"

	"fleet.nationtech.io/deploy/chart"
)

// A wrong value is refused with a sentence that names the value and what it is for.
func TestWrongValuesAreRefusedWithASentence(t *testing.T) {
	t.Parallel()
	in := func(section string, values chart.Values) chart.Values { return provider(chart.Values{section: values}) }
	without := func(key string) chart.Values {
		v := provider()
		delete(v["callout"].(chart.Values), key)
		return v
	}
	callout := func(key string, value any) chart.Values {
		v := provider()
		v["callout"].(chart.Values)[key] = value
		return v
	}
	for name, tt := range map[string]struct {
		values chart.Values
		want   []string
	}{
		"a misspelt value":                   {in("nats", chart.Values{"replica": 3}), []string{"value nats.replica: there is no such value in this chart"}},
		"a misspelt section":                 {chart.Values{"natz": chart.Values{}}, []string{"value natz: there is no such value"}},
		"two NATS servers":                   {in("nats", chart.Values{"replicas": 2}), []string{"value nats.replicas", "1, 3 or 5"}},
		"replicas as text":                   {in("operator", chart.Values{"replicas": "two"}), []string{"value operator.replicas", "want integer"}},
		"no replica":                         {in("operator", chart.Values{"replicas": 0}), []string{"value operator.replicas", "How many replicas there are"}},
		"a size without a unit":              {in("nats", chart.Values{"storage": chart.Values{"size": "50G"}}), []string{"value nats.storage.size", "a whole number and Mi, Gi or Ti"}},
		"JetStream as large as its volume":   {in("nats", chart.Values{"storage": chart.Values{"size": "10Gi", "maxFile": "10Gi"}}), []string{"nats.storage.maxFile is 10Gi", "less than nats.storage.size (10Gi)"}},
		"an image without a registry":        {in("images", chart.Values{"operator": "fleet-operator"}), []string{"value images.operator", "a whole reference with its registry"}},
		"an image with a space":              {in("images", chart.Values{"nats": "docker.io/library/nats: latest"}), []string{"value images.nats"}},
		"an issuer of no kind":               {in("nats", chart.Values{"tls": chart.Values{"certManager": chart.Values{"issuer": "ca", "kind": "Authority"}}}), []string{"value nats.tls.certManager.kind", "ClusterIssuer or Issuer"}},
		"a life of a certificate in days":    {in("nats", chart.Values{"tls": chart.Values{"certManager": chart.Values{"duration": "90d"}}}), []string{"value nats.tls.certManager.duration", "as 26280h"}},
		"root":                               {in("podSecurity", chart.Values{"runAsUser": 0}), []string{"value podSecurity.runAsUser", "root is refused"}},
		"a lame duck that NATS refuses":      {in("nats", chart.Values{"lameDuckSeconds": 10}), []string{"value nats.lameDuckSeconds", "refuses less than 30"}},
		"an unknown way in":                  {in("devices", chart.Values{"expose": "tunnel"}), []string{"value devices.expose", "loadBalancer"}},
		"an Ingress without a host":          {in("devices", chart.Values{"expose": "ingress"}), []string{"devices.host is missing"}},
		"an edge Route to TLS":               {in("devices", chart.Values{"expose": "route", "host": "d.example.com", "websocketTLS": true}), []string{"exclude each other", "devices.websocketTLS=auto"}},
		"a passthrough Route to plain text":  {in("devices", chart.Values{"expose": "route", "host": "d.example.com", "websocketTLS": false, "route": chart.Values{"termination": "passthrough"}}), []string{"the pods must speak TLS"}},
		"plain WebSocket on a NodePort":      {in("devices", chart.Values{"expose": "nodePort", "websocketTLS": false}), []string{"would travel in clear"}},
		"an HTTPRoute without a Gateway":     {in("devices", chart.Values{"expose": "httpRoute", "host": "d.example.com"}), []string{"devices.httpRoute.parentRefs is missing"}},
		"a callout without an issuer":        {without("issuer"), []string{"callout.issuer is missing", "fleetctl zitadel setup", "callout.enabled=false"}},
		"a callout without a project":        {without("project"), []string{"callout.project is missing"}},
		"a callout without an organization":  {without("organizations"), []string{"callout.organizations is missing"}},
		"an issuer with a slash at the end":  {callout("issuer", "https://auth.example.com/"), []string{"value callout.issuer", "without a slash at the end"}},
		"a project that YAML read as number": {callout("project", 317), []string{"value callout.project", "needs quotes in YAML"}},
		"a role of a robot":                  {callout("roles", []any{"x=robot:viewer"}), []string{"value callout.roles.0", "kind is person or service"}},
		"a Prometheus server with password":  {in("operator", chart.Values{"prometheus": []any{chart.Values{"name": "a", "url": "http://me:geheim@a"}}}), []string{"value operator.prometheus.0.url", "without user and password"}},
		"a trace collector with password":    {in("operator", chart.Values{"traceEndpoint": "http://me:geheim@tempo:4318"}), []string{"value operator.traceEndpoint", "OTLP over HTTP"}},
		"a Prometheus server without URL":    {in("operator", chart.Values{"prometheus": []any{chart.Values{"name": "a"}}}), []string{"value operator.prometheus.0", "'url'"}},
		"a backup to nowhere":                {in("backup", chart.Values{"enabled": true}), []string{"backup.store or backup.claim is missing"}},
		"a backup to two places":             {in("backup", chart.Values{"enabled": true, "store": "s3://b", "claim": "c"}), []string{"or both are there"}},
		"a backup at no time":                {in("backup", chart.Values{"schedule": "at night"}), []string{"value backup.schedule", "as cron has it"}},
		"openshift: yes":                     {chart.Values{"openshift": "yes"}, []string{"value openshift", "true, false or auto"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := chart.Render(chart.Options{Profile: "production", Values: tt.values})
			if err == nil {
				t.Fatal("it is rendered")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it says %q, and nothing with %q", err, want)
				}
			}
		})
	}
}

func TestAProfileThatThereIsNotIsRefused(t *testing.T) {
	t.Parallel()
	_, err := chart.Render(chart.Options{Profile: "prod"})
	if err == nil || !strings.Contains(err.Error(), "the chart has lab and production") {
		t.Errorf("got %v", err)
	}
}

// Digests, ports and deep paths are references of images.
func TestImagesMayBeMirrored(t *testing.T) {
	t.Parallel()
	for _, ref := range []string{
		"localhost/fleet-operator:1", "registry.example.com:5000/a/b/fleet-operator:1.2.3", "registry.example.com/x@sha256:" + strings.Repeat("0a", 32),
		"registry.example.com/x:v1@sha256:" + strings.Repeat("0a", 32), "10.0.0.1:5000/x__y/z-w:1", "docker.io/library/nats:2.15.2-alpine",
	} {
		objects, err := chart.Render(chart.Options{Values: provider(chart.Values{"images": chart.Values{"operator": ref}})})
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		if got := pods(t, objects)["fleet-operator"].Spec.Containers[0].Image; got != ref {
			t.Errorf("%s became %s", ref, got)
		}
	}
}
