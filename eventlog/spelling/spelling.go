// Package spelling finds the names that a person may have meant by a misspelt one.
package spelling

import (
	"cmp"
	"slices"
	"strings"
)

// MaxClosest is how many names Closest gives.
const MaxClosest = 3

// Closest gives the names that a person may have meant, the likeliest first: those
// that differ by few letters, and those that begin alike.
func Closest(name string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for _, n := range names {
		d := Distance(name, n)
		if d <= max(2, len(name)/3) || strings.HasPrefix(n, name) || strings.HasPrefix(name, n) {
			near = append(near, candidate{n, d})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), strings.Compare(a.name, b.name))
	})
	out := make([]string, 0, MaxClosest)
	for _, c := range near[:min(len(near), MaxClosest)] {
		out = append(out, c.name)
	}
	return out
}

// Distance is the number of bytes to insert, delete, change or swap with the next
// (the optimal string alignment distance).
func Distance(a, b string) int {
	before, row, after := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		after[0] = i
		for j := 1; j <= len(b); j++ {
			change := row[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			after[j] = min(change, row[j]+1, after[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				after[j] = min(after[j], before[j-2]+1)
			}
		}
		before, row, after = row, after, before
	}
	return row[len(b)]
}
