package appender

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Only the server's word that the fence is at another sequence than ours says that
// somebody else leads. All else leaves open whether the append is in the log.
func TestOnlyAnotherElectionDeposesTheLeader(t *testing.T) {
	t.Parallel()
	const token = 7
	api := func(code jetstream.ErrorCode, says string) error {
		return &jetstream.APIError{Code: 400, ErrorCode: code, Description: says}
	}
	for name, c := range map[string]struct {
		answer error
		want   error
	}{
		"the fence is at a later election":                  {api(jetstream.JSErrCodeStreamWrongLastSequence, "wrong last sequence: 9"), ErrDeposed},
		"the fence is at an earlier one: the log went back": {api(jetstream.JSErrCodeStreamWrongLastSequence, "wrong last sequence: 3"), ErrDeposed},
		"the fence is at our own election":                  {api(jetstream.JSErrCodeStreamWrongLastSequence, "wrong last sequence: 7"), ErrUncertain},
		"where the fence is was not said":                   {api(jetstream.JSErrCodeStreamWrongLastSequence, "wrong last sequence"), ErrUncertain},
		"another claim to the fence is in flight":           {api(jetstream.JSErrCodeStreamWrongLastSequenceConstant, "wrong last sequence"), ErrUncertain},
		"no answer came":                                    {nats.ErrTimeout, ErrUncertain},
		"the log is full":                                   {api(codeStoreFailed, "maximum bytes exceeded"), ErrLogFull},
		"the account is full":                               {api(codeInsufficientResources, "insufficient resources"), ErrLogFull},
		"the server's disk failed":                          {api(codeStoreFailed, "input/output error"), ErrUncertain},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := refusal(c.answer, token)
			for _, sentinel := range []error{ErrDeposed, ErrUncertain, ErrLogFull} {
				if is := errors.Is(got, sentinel); is != errors.Is(c.want, sentinel) {
					t.Errorf("%v: is %q: %v", got, sentinel, is)
				}
			}
		})
	}
}
