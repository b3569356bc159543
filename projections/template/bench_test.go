package template_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/projections/template"
)

// BenchmarkRender measures a score that is filled in for each of a hundred thousand
// devices, with its hash, against the same bytes that are hashed bare.
func BenchmarkRender(b *testing.B) {
	const devices, rounds = 100_000, 9
	raw := []byte(service(`"args":["--id","$(device.id)","--site=$(device.labels.site)"],"configs":{"/etc/app.conf":"` +
		strings.Repeat("key = value of some length\\n", 20) + `[site]\nname = $(device.labels.site)\n"},"env":{"DEVICE":"$(device.id)","SITE":"$(device.labels.site)","TZ":"Europe/Berlin"},"image":"registry.example.org/team/$(device.labels.site):1.27.3","name":"web","ports":["8080:80"],"restartPolicy":"Always","volumes":["data:/data","/srv/$(device.id):/srv:ro"]`))
	tmpl := template.Of(raw)
	ids, has, values := make([]string, devices), make([]map[string]eventlog.OwnedLabel, devices), make([][]byte, devices)
	for i := range ids {
		ids[i], has[i] = fmt.Sprintf("device-%06d", i), labels("site", fmt.Sprint("site-", i%500), "arch", "amd64", "own", "x")
		var err error
		if values[i], err = tmpl.Render(ids[i], has[i]); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%d bytes a device", len(values[0]))
	sum := 0
	var room []byte
	samples := benchtest.Alternate(b, rounds,
		benchtest.Turn{Name: "filled in and hashed", Run: func() {
			for i := range ids {
				got, err := tmpl.Append(room[:0], ids[i], has[i])
				if err != nil {
					b.Fatal(err)
				}
				room = got
				sum += len(eventlog.Hash(got))
			}
		}},
		benchtest.Turn{Name: "hashed bare", Run: func() {
			for _, v := range values {
				digest := sha256.Sum256(v)
				sum += int(digest[0])
			}
		}})
	for _, s := range samples {
		b.Logf("%s: %s a device", s.Name, benchtest.Median(s.Wall)/devices)
	}
	ratios := benchtest.Ratios(samples[0].Wall, samples[1].Wall)
	b.Logf("filled in ÷ hashed bare (goal ≤ 3): %s", benchtest.Spread(ratios))
	b.ReportMetric(benchtest.Median(ratios), "ratio")
}
