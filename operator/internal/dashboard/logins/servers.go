package logins

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
)

// CheckServers says why persons must not be logged in by a URL of NATS servers (comma separated)
// and the options by which these are trusted; nil where they may. A NATS client prefers a login
// that it finds there to a person's token, so each person would be let in as that user.
func CheckServers(servers string, trust []nats.Option) error {
	for server := range strings.SplitSeq(servers, ",") {
		// As in a NATS client, a server without a scheme is one by nats://.
		if server = strings.TrimSpace(server); !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		if err != nil {
			return errors.New("--nats-url: one of the NATS servers cannot be read as a URL such as nats://nats:4222") // the error has the password
		}
		if u.User != nil {
			return fmt.Errorf("--nats-url: the URL of %s has a user, as whom each person would be logged in: release it out, and give --nats-user and $FLEET_NATS_PASSWORD, or --nats-creds", u.Host)
		}
	}
	var o nats.Options
	for _, option := range trust {
		if err := option(&o); err != nil {
			return fmt.Errorf("options of the NATS client: %w", err)
		}
	}
	if o.User != "" || o.Password != "" || o.UserInfo != nil || o.Token != "" || o.TokenHandler != nil || o.Nkey != "" || o.UserJWT != nil || o.SignatureCB != nil {
		return errors.New("the options by which the NATS servers are trusted have a login, as which each person would be logged in: give it apart from them")
	}
	return nil
}
