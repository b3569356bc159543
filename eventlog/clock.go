package eventlog

import "time"

// parseTime reads an RFC 3339 time.
func parseTime(s string) (time.Time, error) {
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
	year, ok1 := digits(s[:4])
	month, ok2 := digits(s[5:7])
	day, ok3 := digits(s[8:10])
	hour, ok4 := digits(s[11:13])
	minute, ok5 := digits(s[14:16])
	second, ok6 := digits(s[17:19])
	nanos, ok7 := fraction(s[19 : len(s)-1])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	// A day or month that there is not was counted on into the next.
	_, m, d := t.Date()
	return t, int(m) == month && d == day
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
