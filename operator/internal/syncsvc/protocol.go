package syncsvc

import (
	"errors"
	"regexp"
)

// reasonBusy: more devices ask at once than the replica has places for. As the
// other reasons it means: ask again.
const reasonBusy = "Busy"

var nonceChars = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)

// checkNonce bounds what a device can have sent back to a subject of its choice.
func checkNonce(nonce string) error {
	if !nonceChars.MatchString(nonce) {
		return errors.New("the nonce must be 8 to 64 letters, digits, '-' or '_'")
	}
	return nil
}
