package migration

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/oklog/ulid/v2"
)

func newID() string { return ulid.Make().String() }

// compare holds a bucket of the log against what was imported into it.
func (r *Report) compare(bucket string, has map[string][]byte) {
	count := r.Counts[bucket]
	for key, want := range r.want[bucket] {
		got, there := has[key]
		switch {
		case there && (got == nil) == (want == nil) && bytes.Equal(got, want):
			count.Verified++
		case !there:
			r.Differences = append(r.Differences, Difference{bucket, key, "the log's bucket has no such key"})
		default:
			r.Differences = append(r.Differences, Difference{bucket, key, "the log's bucket has another value"})
		}
	}
	slices.SortFunc(r.Differences, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Key, b.Key))
	})
}
