// Package phrase makes parts of sentences about events, for texts of all programs. It is pure.
package phrase

import (
	"fmt"
	"slices"
	"strings"
)

// Number is a number with its noun: 0 devices, 1 device, 2 devices.
func Number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Count is Number, and empty for none: it is for a part of a sentence that is left out then.
func Count(n int, one, many string) string {
	if n == 0 {
		return ""
	}
	return Number(n, one, many)
}

// Word puts a name before a value, and nothing before none.
func Word(name, value string) string {
	if value == "" {
		return ""
	}
	return name + " " + value
}

// Quoted puts quotation marks around a text, and none around none.
func Quoted(s string) string {
	if s == "" {
		return ""
	}
	return "“" + s + "”"
}

// Join puts the parts that are there beside each other.
func Join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}
