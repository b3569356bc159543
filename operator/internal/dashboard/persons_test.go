package dashboard_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/person"
)

// Persons share what a page shows. Its end, with the name, and its tag are each one's own.
func TestPersonsShareAPageButNotItsEnd(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	dashboardtest.Publish(t, js, dashboardtest.RolloutStory(t, 3))
	s := dashboardtest.New(t, js, new(dashboardtest.Clock).Use)
	names := []string{"Ada", "Grace", "<script>alert(1)</script>", strings.Repeat("long", 100)}
	s.Persons = map[string]*person.Person{}
	for _, name := range names {
		s.Persons[name] = &person.Person{Actor: "person-" + name, Name: name}
	}
	pages, tags := make([]string, len(names)), make([]string, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			answer, body := s.Get("/devices", dashboardtest.AsPerson, name, "Accept-Encoding", "gzip")
			z, err := gzip.NewReader(bytes.NewReader([]byte(body)))
			if err != nil {
				t.Error(err)
				return
			}
			plain, err := io.ReadAll(z) // with its checksum
			if err != nil {
				t.Error(err)
			}
			if _, identity := s.Get("/devices", dashboardtest.AsPerson, name, "Accept-Encoding", "identity"); identity != string(plain) {
				t.Errorf("%s: without compression the page is another one", name)
			}
			pages[i], tags[i] = string(plain), answer.Header.Get("ETag")
		})
	}
	all.Wait()
	shared, _, _ := strings.Cut(pages[0], `<aside class="account"`)
	for i, name := range names {
		if !strings.HasPrefix(pages[i], shared) || !strings.HasSuffix(pages[i], "</html>\n") || strings.Contains(pages[i], "<script>") {
			t.Errorf("%.20s is shown\n%s", name, pages[i])
		}
		for j, other := range names {
			want := http.StatusOK
			if i == j {
				want = http.StatusNotModified
			} else if strings.Contains(pages[i], "<span>"+other) {
				t.Errorf("the page of %.20s names %.20s", name, other)
			}
			if answer, _ := s.Get("/devices", dashboardtest.AsPerson, name, "If-None-Match", tags[j]); answer.StatusCode != want || answer.Header.Get("ETag") != tags[i] {
				t.Errorf("%.20s with the tag of %.20s is answered by %s", name, other, answer.Status)
			}
		}
	}
	if _, body := s.Get("/devices"); strings.Contains(body, `class="account"`) || !strings.HasPrefix(body, shared) {
		t.Errorf("nobody is shown\n%s", body)
	}
	if answer, body := s.Get("/nothing", dashboardtest.AsPerson, "Ada"); answer.StatusCode != http.StatusNotFound || !strings.Contains(body, "<span>Ada</span>") || !strings.HasSuffix(body, "</html>\n") {
		t.Errorf("a page that is not there: %s\n%s", answer.Status, body)
	}
}
