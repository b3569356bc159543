package plainjson

import "time"

// ParseTime reads an RFC 3339 time.
func ParseTime(s string) (time.Time, error) {
	if t, ok := parseUTC(s); ok {
		return t, nil
	}
	return time.Parse(time.RFC3339Nano, s)
}

// parseUTC reads an RFC 3339 time that ends in Z, the form in which all of ours
// are written: each event has one or two, and this takes a third of the time that
// time.Parse takes. It is false for every other form, be it valid or not.
func parseUTC[T string | []byte](s T) (time.Time, bool) {
	const form = "2006-01-02T15:04:05"
	if len(s) < len(form)+1 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' || s[len(s)-1] != 'Z' {
		return time.Time{}, false
	}
	year, month, day := 100*two(s[0], s[1])+two(s[2], s[3]), two(s[5], s[6]), two(s[8], s[9])
	hour, minute, second := two(s[11], s[12]), two(s[14], s[15]), two(s[17], s[18])
	nanos, ok := fraction(s[19 : len(s)-1])
	if !ok || year < 0 || month < 1 || month > 12 || day < 1 || day > 28 && day > lastDay(year, month) || hour < 0 || hour > 23 ||
		minute < 0 || minute > 59 || second < 0 || second > 59 {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC), true
}

// two reads two digits; what is none makes it so far below zero that no other
// digits of a year outweigh it, and a hundred times that fits into 32 bits.
func two(a, b byte) int {
	a, b = a-'0', b-'0'
	if a > 9 || b > 9 {
		return -100_000
	}
	return 10*int(a) + int(b)
}

func lastDay(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

func digits[T string | []byte](s T) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, true
}

// fraction reads nothing, or a dot and one to nine digits, as nanoseconds.
func fraction[T string | []byte](s T) (nanos int, ok bool) {
	if len(s) == 0 {
		return 0, true
	}
	if s[0] != '.' || len(s) < 2 || len(s) > 10 {
		return 0, false
	}
	nanos, ok = digits(s[1:])
	for range 10 - len(s) {
		nanos *= 10
	}
	return nanos, ok
}
