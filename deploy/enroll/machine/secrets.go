package machine

import (
	"context"
	"errors"
)

// Kind is what a person is asked for.
type Kind string

// What is asked for.
const (
	LoginPassword Kind = "password"
	SudoPassword  Kind = "sudo password"
	Passphrase    Kind = "passphrase"
)

// Question asks for one secret.
type Question struct {
	Kind  Kind
	Of    string // USER@HOST, or the key's file
	Again bool   // the last answer was wrong
	Jump  bool   // it is of a jump host, and not of a device
}

// Secrets asks a person. It may be called for several devices at once.
type Secrets interface {
	Ask(ctx context.Context, q Question) (string, error)
}

// ErrNobodyToAsk says that there is no terminal to ask at.
var ErrNobodyToAsk = errors.New("there is no terminal to ask at")

// Nobody answers no question.
type Nobody struct{}

// Ask fails.
func (Nobody) Ask(context.Context, Question) (string, error) { return "", ErrNobodyToAsk }
