package syncsvc

import (
	"errors"
	"regexp"
)

const (
	headerEnd   = "Fleet-Sync-End"
	headerError = "Fleet-Sync-Error"

	reasonBusy       = "Busy"
	reasonNotReady   = "NotReady"
	reasonRebuilding = "Rebuilding"
)

type question struct {
	Nonce string `json:"nonce"`
}

type end struct {
	LogID       string `json:"log_id"`
	LogSequence uint64 `json:"log_sequence"`
	Count       int    `json:"count"`
}

var nonceChars = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)

func checkNonce(nonce string) error {
	if !nonceChars.MatchString(nonce) {
		return errors.New("the nonce must be 8 to 64 letters, digits, '-' or '_'")
	}
	return nil
}
