package manifests_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/v1alpha1"
)

// everythingOfARollout has each field of spec.rollout.
const everythingOfARollout = `{strategy: Batched, batches: [
	{selector: {matchLabels: {canary: "true"}, matchExpressions: [{key: site, operator: In, values: [lab]}]}, soak: 0s, approval: Manual, fourEyes: true,
		gates: [{name: errors, prometheus: {server: main, query: "sum(rate(errors_total[5m]))", max: "0.05", min: "-1e3", for: 5m}}, {name: up, prometheus: {server: main, query: up, min: "1"}}]},
	{size: 3, soak: 1h30m, approval: Automatic, fourEyes: false}, {size: 1%}, {size: 10%}, {soak: 1m}],
	successThreshold: 95%, maxUnavailable: 10%, progressDeadline: 10m, offlineDevices: Wait, onFailure: Rollback, paused: true, dependsOn: [base, store],
	windows: [{schedule: "0 22 * * 1-5", timeZone: Europe/Paris, duration: 4h}, {schedule: "@daily", duration: 1h30m}],
	rate: {devices: 50, per: 1m30s, increase: {afterSucceeded: 200, percent: 100, maxDevices: 1000}}}`

func batches(n int, batch string) string {
	return "{batches: [" + strings.Repeat(batch+", ", n) + "{}]}"
}

func TestRulesOfARolloutAccept(t *testing.T) {
	t.Parallel()
	cluster := policedAPI(t)
	client := dynamic.NewForConfigOrDie(cluster.Config).
		Resource(v1alpha1.SchemeGroupVersion.WithResource("deployments")).Namespace(cluster.Namespace(t))
	var rising, pins, names []string
	for n := range 9 {
		rising = append(rising, "{size: "+strconv.Itoa(n+1)+"%}")
	}
	full := strings.Repeat("x", 63)
	for n := range 4 {
		pins = append(pins, "{key: a"+strconv.Itoa(n)+", operator: NotIn, values: ["+strings.Repeat(full+", ", 15)+full+"]}")
	}
	for n := range 8 {
		names = append(names, strings.Repeat("a", 62)+strconv.Itoa(n))
	}
	for name, rollout := range map[string]string{
		"nothing":                              "{}",
		"everything":                           everythingOfARollout,
		"the rest alone":                       "{batches: [{}]}",
		"the rest is left out":                 "{batches: [{size: 1}]}",
		"ten batches":                          "{batches: [" + strings.Join(rising, ", ") + ", {}]}",
		"numbers, and percentages":             "{batches: [{size: 1}, {size: 1%}, {size: 50}, {size: 100%}]}",
		"nine of the largest pins":             batches(9, "{selector: {matchExpressions: ["+strings.Join(pins, ", ")+"]}}"),
		"the bounds":                           "{successThreshold: 100%, maxUnavailable: 1000000, progressDeadline: 720h}",
		"the bounds below":                     "{successThreshold: 1%, maxUnavailable: 1%, progressDeadline: 1s}",
		"eight of the longest names":           "{dependsOn: [" + strings.Join(names, ", ") + "]}",
		"Immediate, while batches are kept":    "{strategy: Immediate, batches: [{size: 10%}, {}]}",
		"four eyes that are not asked for":     "{batches: [{size: 1, fourEyes: false}, {}]}",
		"a soak in milliseconds":               "{batches: [{size: 1, soak: 1500ms}, {}]}",
		"a rate alone":                         `{rate: {devices: 1}}`,
		"windows of all forms":                 `{windows: [{schedule: "*/15 0-6,22,23 1,15 * MON-FRI", duration: 1m}, {schedule: "0,30 */2 1-7 jan,12 SUN", timeZone: America/Argentina/Buenos_Aires, duration: 168h}]}`,
		"the next batch by another unit first": "{batches: [{size: 10%}, {size: 1}, {}]}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := client.Create(t.Context(), asked{rollout: rollout}.object(t), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRulesOfARolloutRefuseWithASentence(t *testing.T) {
	t.Parallel()
	cluster := policedAPI(t)
	client := dynamic.NewForConfigOrDie(cluster.Config).
		Resource(v1alpha1.SchemeGroupVersion.WithResource("deployments")).Namespace(cluster.Namespace(t))
	for name, tt := range map[string]struct{ rollout, says string }{
		"an unknown strategy":                {"{strategy: Yolo}", `Unsupported value: "Yolo": supported values: "Batched", "Immediate"`},
		"no batch":                           {"{batches: []}", "spec.rollout.batches in body should have at least 1 items"},
		"eleven batches":                     {batches(10, "{selector: {matchLabels: {a: b}}}"), "must have at most 10 items"},
		"a size and a selector":              {"{batches: [{size: 1}, {size: 2, selector: {matchLabels: {a: b}}}, {}]}", "spec.rollout.batches[1]: Invalid value: a batch has a size or a selector, not both"},
		"the rest first":                     {"{batches: [{}, {size: 1}]}", `each batch but the last needs a size, such as "10%", or a selector`},
		"the rest twice":                     {"{batches: [{size: 1}, {}, {}]}", `each batch but the last needs a size, such as "10%", or a selector`},
		"a rest that soaks first":            {"{batches: [{soak: 5m}, {}]}", `each batch but the last needs a size, such as "10%", or a selector`},
		"percentages that fall":              {"{batches: [{size: 10%}, {size: 5%}, {}]}", "spec.rollout.batches: Invalid value: a size counts the devices of the batches before it, too"},
		"percentages that stay":              {"{batches: [{size: 10%}, {size: 10%}, {}]}", "each is larger than the one before it"},
		"percentages of one and of two":      {"{batches: [{size: 9%}, {size: 10%}, {size: 9%}, {}]}", "each is larger than the one before it"},
		"numbers that fall past a pin":       {"{batches: [{size: 10}, {selector: {matchLabels: {a: b}}}, {size: 9}, {}]}", "each is larger than the one before it"},
		"a size of 0":                        {"{batches: [{size: 0}, {}]}", "spec.rollout.batches[0].size: Invalid value: a size is a number of devices, at least 1, or a percentage"},
		"a size of 0%":                       {"{batches: [{size: 0%}, {}]}", "a size is a number of devices, at least 1, or a percentage"},
		"a size of 101%":                     {"{batches: [{size: 101%}, {}]}", "a size is a number of devices, at least 1, or a percentage"},
		"a size of half":                     {"{batches: [{size: half}, {}]}", "a size is a number of devices, at least 1, or a percentage"},
		"a number as text":                   {`{batches: [{size: "5"}, {}]}`, "a size is a number of devices, at least 1, or a percentage"},
		"a size of too many":                 {"{batches: [{size: 1000001}, {}]}", "a size is a number of devices, at least 1, or a percentage"},
		"a size in fractions":                {"{batches: [{size: 1.5}, {}]}", "spec.rollout.batches[0].size"},
		"a pin of everything":                {"{batches: [{selector: {}}, {}]}", "spec.rollout.batches[0].selector: Invalid value: an empty selector would mean every device: write a label, as in matchLabels: {canary"},
		"a pin of an odd operator":           {"{batches: [{selector: {matchExpressions: [{key: a, operator: Like}]}}, {}]}", `operator "Like" of key a: the operators are In, NotIn, Exists and DoesNotExist`},
		"a negative soak":                    {"{batches: [{size: 1, soak: -5m}, {}]}", "spec.rollout.batches[0].soak: Invalid value: soak is a duration from 0s to 720h"},
		"a soak of a month and a day":        {"{batches: [{size: 1, soak: 744h}, {}]}", "soak is a duration from 0s to 720h"},
		"a soak without a unit":              {`{batches: [{size: 1, soak: "5"}, {}]}`, "soak is a duration from 0s to 720h"},
		"fourEyes without a manual approval": {"{batches: [{size: 1, fourEyes: true}, {}]}", "spec.rollout.batches[0].fourEyes: Invalid value: fourEyes is about who approves: it needs approval: Manual"},
		"an unknown approval":                {"{batches: [{size: 1, approval: Maybe}, {}]}", `Unsupported value: "Maybe": supported values: "Automatic", "Manual"`},
		"a threshold of 0%":                  {"{successThreshold: 0%}", "spec.rollout.successThreshold: Invalid value: successThreshold is a percentage from 1% to 100%"},
		"a threshold that is a number":       {"{successThreshold: 95}", "spec.rollout.successThreshold in body must be of type string"},
		"a threshold without its percent":    {`{successThreshold: "95"}`, "successThreshold is a percentage from 1% to 100%"},
		"maxUnavailable of 0":                {"{maxUnavailable: 0}", "spec.rollout.maxUnavailable: Invalid value: maxUnavailable is a number of devices, at least 1, or a percentage"},
		"maxUnavailable of 0%":               {"{maxUnavailable: 0%}", "with 0, no device could ever be changed"},
		"maxUnavailable below 0":             {"{maxUnavailable: -1}", "maxUnavailable is a number of devices, at least 1"},
		"no deadline":                        {"{progressDeadline: 0s}", "spec.rollout.progressDeadline: Invalid value: progressDeadline is a duration from 1s to 720h"},
		"an empty deadline":                  {`{progressDeadline: ""}`, "progressDeadline is a duration from 1s to 720h"},
		"an unknown way with the offline":    {"{offlineDevices: Hope}", `supported values: "Skip", "Wait"`},
		"an unknown way with a failure":      {"{onFailure: Hope}", `supported values: "Pause", "Rollback", "Continue"`},
		"it depends on itself":               {"{dependsOn: [base, ok]}", "spec.rollout.dependsOn: Invalid value: a Deployment cannot depend on itself"},
		"it depends on one twice":            {"{dependsOn: [base, store, base]}", `"base": dependsOn names each Deployment once`},
		"it depends on what is no name":      {"{dependsOn: [shop/base]}", `"shop/base": dependsOn has names of Deployments in the same namespace`},
		"a window without a schedule":        {"{windows: [{duration: 1h}]}", "spec.rollout.windows[0].schedule: Required value"},
		"a window without a duration":        {`{windows: [{schedule: "0 2 * * *"}]}`, "spec.rollout.windows[0].duration: Required value"},
		"a window of six fields":             {`{windows: [{schedule: "0 0 2 * * *", duration: 1h}]}`, "spec.rollout.windows[0].schedule: Invalid value: schedule is a cron expression of five fields"},
		"a window in words":                  {`{windows: [{schedule: "at night", duration: 1h}]}`, "schedule is a cron expression of five fields"},
		"a window at hour 24":                {`{windows: [{schedule: "0 24 * * *", duration: 1h}]}`, "schedule is a cron expression of five fields"},
		"a window at intervals":              {`{windows: [{schedule: "@every 5m", duration: 1h}]}`, "schedule is a cron expression of five fields"},
		"a window in no zone":                {`{windows: [{schedule: "0 2 * * *", timeZone: Europe/Pris, duration: 1h}]}`, "timeZone is a name of the IANA database"},
		"a window in the machine's zone":     {`{windows: [{schedule: "0 2 * * *", timeZone: Local, duration: 1h}]}`, "timeZone is a name of the IANA database"},
		"a window of seconds":                {`{windows: [{schedule: "0 2 * * *", duration: 59s}]}`, "spec.rollout.windows[0].duration: Invalid value: duration is from 1m to 168h"},
		"a window of eight days":             {`{windows: [{schedule: "0 2 * * *", duration: 192h}]}`, "duration is from 1m to 168h"},
		"a rate of nobody":                   {`{rate: {devices: 0}}`, "spec.rollout.rate.devices"},
		"a rate without devices":             {`{rate: {per: 1m}}`, "spec.rollout.rate.devices: Required value"},
		"a rate in no time":                  {`{rate: {devices: 1, per: 0s}}`, "spec.rollout.rate.per: Invalid value: per is from 1s to 24h"},
		"a rate in two days":                 {`{rate: {devices: 1, per: 48h}}`, "per is from 1s to 24h"},
		"a rate that grows downwards":        {`{rate: {devices: 10, increase: {afterSucceeded: 5, percent: 10, maxDevices: 9}}}`, "spec.rollout.rate.increase.maxDevices: Invalid value: maxDevices is what the rate grows up to"},
		"a rate that does not grow":          {`{rate: {devices: 10, increase: {afterSucceeded: 5, percent: 0}}}`, "spec.rollout.rate.increase.percent"},
		"a rate of an Immediate rollout":     {`{strategy: Immediate, rate: {devices: 1}}`, "spec.rollout.rate: Invalid value: an Immediate rollout waits for nothing"},
		"a gate without a query":             {`{batches: [{gates: [{name: a, prometheus: {server: main, max: "1"}}]}]}`, "spec.rollout.batches[0].gates[0].prometheus.query: Required value"},
		"a gate with an empty query":         {`{batches: [{gates: [{name: a, prometheus: {server: main, query: " ", max: "1"}}]}]}`, "query is empty"},
		"a gate without a bound":             {`{batches: [{gates: [{name: a, prometheus: {server: main, query: up}}]}]}`, "a gate needs max, min or both"},
		"a gate with a missing argument":     {`{batches: [{gates: [{name: a, prometheus: {server: main, query: "up{job='{{args.service}}'}", max: "1"}}]}]}`, "it has no arguments"},
		"a gate without a server":            {`{batches: [{gates: [{name: a, prometheus: {query: up, max: "1"}}]}]}`, "server: Required value"},
		"a gate with a URL":                  {`{batches: [{gates: [{name: a, prometheus: {server: "http://prometheus:9090", query: up, max: "1"}}]}]}`, "a server's name is a label"},
		"a gate with a word for a number":    {`{batches: [{gates: [{name: a, prometheus: {server: main, query: up, max: low}}]}]}`, `max is a number as text, such as "0.05"`},
		"a gate that no value can pass":      {`{batches: [{gates: [{name: a, prometheus: {server: main, query: up, max: "1", min: "1.5"}}]}]}`, "min is above max"},
		"a gate that asks nobody":            {`{batches: [{gates: [{name: a}]}]}`, "prometheus: Required value"},
		"two gates of one name":              {`{batches: [{gates: [{name: a, prometheus: {server: main, query: up, max: "1"}}, {name: a, prometheus: {server: main, query: up, max: "1"}}]}]}`, "Duplicate value"},
		"six gates":                          {`{batches: [{gates: [` + strings.Repeat(`{name: a, prometheus: {server: main, query: up, max: "1"}},`, 6) + `]}]}`, "must have at most 5 items"},
		"no window":                          {"{windows: []}", "should have at least 1 items"},
		"windows of an Immediate rollout":    {`{strategy: Immediate, windows: [{schedule: "0 2 * * *", duration: 1h}]}`, "spec.rollout.windows: Invalid value: an Immediate rollout waits for nothing"},
		"it depends on nine":                 {"{dependsOn: [a, b, c, d, e, f, g, h, i]}", "must have at most 8 items"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := client.Create(t.Context(), asked{rollout: tt.rollout}.object(t), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want something with %q", err, tt.says)
			}
		})
	}
}

// A default in the schema would be stored in every object, so that no other could
// ever reach it.
func TestTheAPIKeepsOfARolloutWhatItsAuthorSaid(t *testing.T) {
	t.Parallel()
	cluster := policedAPI(t)
	client := dynamic.NewForConfigOrDie(cluster.Config).
		Resource(v1alpha1.SchemeGroupVersion.WithResource("deployments")).Namespace(cluster.Namespace(t))
	for name, said := range map[string]string{
		"nothing":    "{}",
		"a batch":    "{batches: [{}]}",
		"everything": everythingOfARollout,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := client.Create(t.Context(), asked{rollout: said}.object(t), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err != nil {
				t.Fatal(err)
			}
			var want map[string]any
			if err := yaml.Unmarshal([]byte(said), &want); err != nil {
				t.Fatal(err)
			}
			kept, _, _ := unstructured.NestedMap(got.Object, "spec", "rollout")
			if diff := cmp.Diff(normal(t, want), normal(t, kept)); diff != "" {
				t.Errorf("spec.rollout (-said +kept):\n%s", diff)
			}
		})
	}
}
