package eventlog_test

import "time"

// at is when the events of these tests happened.
var at = time.Date(2026, 11, 24, 14, 3, 0, 0, time.UTC)
