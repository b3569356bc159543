package backup_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/deploy/backup"
)

const (
	logA = "01M8K4BBZKSGQ05FMNW60JEKM4"
	logB = "01M8K4BBZKSGQ05FMNW60JEKM5"
)

func TestWhatIsRemoved(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	name := func(days int) string { return backup.NameOf(logA, now.Add(-time.Duration(days)*24*time.Hour)) }
	verified := func(names ...string) (files []backup.File) {
		for _, n := range names {
			files = append(files, backup.File{Name: n}, backup.File{Name: n + ".verified"})
		}
		return files
	}
	days := func(n ...int) (names []string) {
		for _, d := range n {
			names = append(names, name(d))
		}
		return names
	}
	for what, c := range map[string]struct {
		r     backup.Retention
		files []backup.File
		want  []string
	}{
		"without a retention all stay":                   {backup.Retention{}, verified(days(0, 1, 400)...), nil},
		"the newest so many stay":                        {backup.Retention{Count: 2}, verified(days(0, 1, 2, 3)...), days(3, 2)},
		"the young ones stay":                            {backup.Retention{Age: 60 * time.Hour}, verified(days(0, 1, 2, 3, 9)...), days(9, 3)},
		"what either of the two keeps stays":             {backup.Retention{Count: 3, Age: 36 * time.Hour}, verified(days(0, 1, 2, 3)...), days(3)},
		"the newest stays, however old":                  {backup.Retention{Age: time.Hour}, verified(days(30, 40)...), days(40)},
		"what is not verified does not count":            {backup.Retention{Count: 1}, append(verified(days(1)...), backup.File{Name: name(0)}), nil},
		"what is not verified goes once it is of no use": {backup.Retention{Count: 5}, append(verified(days(0)...), backup.File{Name: name(2)}), days(2)},
		"without a verified one nothing goes":            {backup.Retention{Count: 1}, []backup.File{{Name: name(3)}, {Name: name(4)}}, nil},
		"another log's stay":                             {backup.Retention{Count: 1}, append(verified(days(0)...), verified(backup.NameOf(logB, now.Add(-900*time.Hour)))...), nil},
		"other names stay": {backup.Retention{Count: 1}, append(verified(days(0)...), verified(
			"fleet.archive", "notes.txt", "fleet-x-20200101T000000Z.archive", name(9)+".old", "x"+name(9), "fleet-in-progress.archive")...), nil},
	} {
		if diff := cmp.Diff(c.want, backup.Surplus(c.r, c.files, logA, now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func TestTheNewestVerifiedArchiveIsNeverRemoved(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var files []backup.File
		newest, own := "", map[string]bool{}
		for i := range rapid.IntRange(0, 12).Draw(t, "archives") {
			hours := rapid.IntRange(0, 2000).Draw(t, "hours")
			n := backup.NameOf(rapid.SampledFrom([]string{logA, logB}).Draw(t, "log"), now.Add(-time.Duration(hours)*time.Hour-time.Duration(i)*time.Second))
			files = append(files, backup.File{Name: n})
			if !rapid.Bool().Draw(t, "verified") {
				continue
			}
			files = append(files, backup.File{Name: n + ".verified"})
			if n[:32] == backup.NameOf(logA, now)[:32] {
				own[n] = true
				newest = max(newest, n)
			}
		}
		files = append(files, backup.File{Name: fmt.Sprintf("other-%d.archive", rapid.Int().Draw(t, "n"))})
		r := backup.Retention{Count: rapid.IntRange(0, 4).Draw(t, "count"), Age: time.Duration(rapid.IntRange(0, 900).Draw(t, "age")) * time.Hour}
		gone := backup.Surplus(r, files, logA, now)
		if newest != "" && slices.Contains(gone, newest) {
			t.Fatalf("%+v removes the newest verified one, of %v", r, files)
		}
		kept := 0
		for n := range own {
			if !slices.Contains(gone, n) {
				kept++
			}
		}
		if kept < min(r.Count, len(own)) {
			t.Fatalf("%+v keeps %d of %d", r, kept, len(own))
		}
	})
}
