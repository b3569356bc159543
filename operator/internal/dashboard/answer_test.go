package dashboard_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/projections/storytest"
)

func TestAPageIsSentAgainOnlyOnceTheLogHasNews(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	dashboardtest.Publish(t, js, story)
	var c dashboardtest.Clock
	s := dashboardtest.New(t, js, c.Use)
	for _, path := range []string{"/", "/devices", "/api/v1/devices", "/devices?at=3", "/api/v1/devices?at=3", "/api/v1/deployments/shop/web"} {
		first, _ := s.Get(path)
		tag := first.Header.Get("ETag")
		if again, body := s.Get(path, "If-None-Match", tag); tag == "" || again.StatusCode != http.StatusNotModified || body != "" || again.Header.Get("ETag") != tag {
			t.Errorf("%s, which has the tag %q, is sent again: %s", path, tag, again.Status)
		}
	}
	constant, _ := s.Get("/api/v1/devices?at=3")
	grows, _ := s.Get("/api/v1/devices")
	there := len(story.Events)
	story.Device("another", map[string]string{"site": "lab"})
	dashboardtest.Publish(t, js, story, there)
	c.Set(2 * time.Second)
	dashboardtest.Eventually(t, "the list of now has another tag", func() bool {
		answer, body := s.Get("/api/v1/devices", "If-None-Match", grows.Header.Get("ETag"))
		c.Add(10 * time.Millisecond)
		return answer.StatusCode == http.StatusOK && strings.Contains(body, `"another"`)
	})
	if answer, _ := s.Get("/api/v1/devices?at=3", "If-None-Match", constant.Header.Get("ETag")); answer.StatusCode != http.StatusNotModified {
		t.Errorf("the JSON of a sequence changed with the log: %s", answer.Status)
	}
}

// Many who look at one page of a log that grows cost as much as one: within a second they are
// given one page. It says of which event it is, so that a page asks again for what it heard of.
func TestManyWhoLookAtOnePageAreGivenOne(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := dashboardtest.RolloutStory(t, 3)
	dashboardtest.Publish(t, js, story)
	var c dashboardtest.Clock
	s := dashboardtest.New(t, js, c.Use)
	first, _ := s.Get("/")
	var all sync.WaitGroup
	for range 20 {
		there := len(story.Events)
		story.Online("device-00001")
		dashboardtest.Publish(t, js, story, there)
		all.Go(func() {
			if answer, body := s.Get("/"); answer.Header.Get("ETag") != first.Header.Get("ETag") {
				t.Errorf("another page was made: %s\n%s", answer.Status, body)
			}
		})
	}
	all.Wait()
	c.Set(time.Second)
	dashboardtest.Eventually(t, "the newest event is shown", func() bool {
		_, body := s.Get("/")
		c.Add(time.Second)
		return strings.Contains(body, fmt.Sprintf(`data-sequence="%d"`, len(story.Events)))
	})
}

func TestAnAnswerIsCompressedForAClientThatTakesGzip(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, dashboardtest.RolloutStory(t, 3))
	s := dashboardtest.New(t, js, new(dashboardtest.Clock).Use)
	_, want := s.Get("/devices", "Accept-Encoding", "identity")
	for accept, zipped := range map[string]bool{
		"gzip": true, "br, gzip": true, "gzip;q=0.5": true, "deflate, gzip;q=1.0": true,
		"": false, "identity": false, "gzip;q=0": false, "gzip;q=0.0": false, "br": false,
	} {
		answer, body := s.Get("/devices", "Accept-Encoding", accept)
		if got := answer.Header.Get("Content-Encoding") == "gzip"; got != zipped {
			t.Errorf("Accept-Encoding %q gets Content-Encoding %q", accept, answer.Header.Get("Content-Encoding"))
			continue
		}
		if zipped {
			r, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			body = string(b)
		}
		if body != want {
			t.Errorf("Accept-Encoding %q gets another page", accept)
		}
	}
}

// The dashboard says that there is nothing yet, and shows the log once it is there; so it does
// with a log that takes another's place.
func TestADashboardGoesOnWithTheLogThatIsThere(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, dashboardtest.RolloutStory(t, 3))
	s := dashboardtest.New(t, js)
	if _, body := s.Get("/devices"); !strings.Contains(body, "device-00002") {
		t.Fatal(body)
	}
	if err := js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
		t.Fatal(err)
	}
	fresh := storytest.New(t)
	fresh.Device("phoenix", map[string]string{"site": "lab"})
	natstest.EnsureLog(t, js, 1)
	dashboardtest.Publish(t, js, fresh)
	dashboardtest.Eventually(t, "the other log is shown", func() bool {
		answer, body := s.Get("/devices")
		return answer.StatusCode == http.StatusOK && strings.Contains(body, "phoenix") && !strings.Contains(body, "device-00002")
	})
}

// A browser that has a page of another build of this program is given the page again.
func TestAnotherBuildSendsItsOwnPages(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, dashboardtest.RolloutStory(t, 3))
	at := new(dashboardtest.Clock)
	build := func(name string) *dashboardtest.Site {
		return dashboardtest.New(t, js, at.Use, func(o *dashboard.Options) { o.Build = name })
	}
	one, same, other := build("1"), build("1"), build("2")
	for _, path := range []string{"/devices", "/api/v1/devices?at=3"} {
		first, _ := one.Get(path)
		tag := first.Header.Get("ETag")
		if answer, _ := same.Get(path, "If-None-Match", tag); answer.StatusCode != http.StatusNotModified {
			t.Errorf("%s: another replica of the same build sends it again", path)
		}
		if answer, _ := other.Get(path, "If-None-Match", tag); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: another build answers %s to the tag of the first one", path, answer.Status)
		}
	}
}

// A browser keeps an asset by the address that pages of the same program name, and by no other.
func TestAnAssetIsKeptByTheAddressThatPagesNameAlone(t *testing.T) {
	t.Parallel()
	s := dashboardtest.New(t, dashboardtest.NewLog(t))
	_, body := s.Get("/")
	_, rest, _ := strings.Cut(body, `src="`)
	address, _, ok := strings.Cut(rest, `"`)
	if !ok {
		t.Fatal(body)
	}
	for path, want := range map[string]struct {
		code  int
		cache string
	}{
		address:                        {200, "immutable"},
		"/assets/dashboard.css":        {200, "no-cache"},
		"/assets/dashboard.js?another": {200, "no-cache"},
		"/assets/":                     {404, "no-cache"},
		"/assets/nothing.js":           {404, "no-cache"},
		"/assets/..%2fpage.go":         {404, "no-cache"},
	} {
		answer, _ := s.Get(path)
		if cache := answer.Header.Get("Cache-Control"); answer.StatusCode != want.code || !strings.Contains(cache, want.cache) {
			t.Errorf("%s answers %d with Cache-Control %q, want %d with %q", path, answer.StatusCode, cache, want.code, want.cache)
		}
	}
}
