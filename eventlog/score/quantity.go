package score

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseMemory reads a whole number of bytes, or one with Ki, Mi, Gi or k, m, g
// in either case, all of which count in 1024s, as with Podman.
func ParseMemory(text string) (int64, error) {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	var shift int
	known := true
	switch text[len(digits):] {
	case "", "b", "B":
	case "Ki", "k", "K":
		shift = 10
	case "Mi", "m", "M":
		shift = 20
	case "Gi", "g", "G":
		shift = 30
	default:
		known = false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n < 1 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("resources.memory %q: it is a whole number of bytes, or one with Ki, Mi, Gi (or k, m, g), such as \"64Mi\"", text)
	}
	return n << shift, nil
}

// ParseCPUs reads a decimal number of processors as thousandths of one.
func ParseCPUs(text string) (int64, error) {
	f, err := strconv.ParseFloat(text, 64)
	milli := math.Round(f * 1000)
	// Podman's period is 100 ms and the kernel's shortest quota 1 ms: a hundredth.
	if err != nil || math.IsNaN(f) || milli < 10 || milli > 1e6 {
		return 0, fmt.Errorf("resources.cpus %q: it is a number of processors, at least \"0.01\", such as \"0.5\"", text)
	}
	return int64(milli), nil
}
