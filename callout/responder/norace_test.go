//go:build !race

package responder_test

import "fleet.nationtech.io/callout/responder"

// deadline is when a request is given up.
const deadline = responder.DefaultDeadline
