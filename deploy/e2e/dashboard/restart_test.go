//go:build e2e

package dashboard_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/dev"
)

// noteStreams has each page that is loaded from now on note the events that it is told of.
func (b *browser) noteStreams() {
	b.t.Helper()
	const script = `window.heard = [];
		const Stream = window.EventSource;
		window.EventSource = class extends Stream {
			constructor(...address) {
				super(...address);
				this.addEventListener("message", (event) => window.heard.push(Number(event.lastEventId)));
			}
		};`
	if _, err := chromedp.Call(b.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script}); err != nil {
		b.t.Fatal(err)
	}
}

// survivesARestart restarts the operator while a rollout begins: an open page goes on without
// being loaded, and is told of each event once, in their order.
func (b *browser) survivesARestart(ctx context.Context, f *dev.Fleet) {
	b.t.Helper()
	b.open("/rollouts/default/web")
	b.shows("Completed", "revision 1")
	loaded := value[string](b, `new URL(document.querySelector("main").dataset.stream, location.href).searchParams.get("after")`)
	value[bool](b, "window.sameDocument = true")
	if err := apply(ctx, f, "two", atOnce); err != nil {
		b.t.Fatal(err)
	}
	if err := f.RestartOperator(ctx); err != nil {
		b.t.Fatal(err)
	}
	b.shows("Completed", "to revision 2", "2 healthy")
	if err := apply(ctx, f, "three", atOnce); err != nil {
		b.t.Fatal(err)
	}
	b.shows("Completed", "to revision 3", "2 healthy")
	if !value[bool](b, "window.sameDocument === true") {
		b.t.Error("the page was loaded to show what changed")
	}
	want := b.events(ctx, "?deployment=web&order=asc&limit=1000&after="+loaded)
	b.eventually("the page is told of the last event", func() bool {
		return slices.Contains(value[[]int](b, "window.heard"), want[len(want)-1])
	})
	if diff := cmp.Diff(want, value[[]int](b, "window.heard")); diff != "" {
		b.t.Errorf("the page is not told of each event of the Deployment once (-the log +the page):\n%s", diff)
	}
}

// events are the sequences of some events of the log.
func (b *browser) events(ctx context.Context, query string) (sequences []int) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+"/api/v1/events"+query, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	var page struct{ Events []struct{ Sequence int } }
	if err := json.Unmarshal(body, &page); err != nil {
		b.t.Fatalf("%v: %s", err, body)
	}
	for _, e := range page.Events {
		sequences = append(sequences, e.Sequence)
	}
	return sequences
}
