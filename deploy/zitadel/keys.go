package zitadel

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Key is a key of a user or of an application, without its private half.
type Key struct {
	ID      string
	Created time.Time // zero: the server does not say
	Expires time.Time
}

// Holds says whether the key has not expired.
func (k Key) Holds(now time.Time) bool { return k.Expires.IsZero() || now.Before(k.Expires) }

// keyIn is a key that is made. Without a public key the provider makes the pair.
type keyIn struct {
	Type      string    `json:"type,omitempty"` // of v1
	Expires   time.Time `json:"expirationDate"`
	PublicKey []byte    `json:"publicKey,omitempty"`
}

const keyTypeJSON = "KEY_TYPE_JSON"

// keyOut is the answer of every method that makes a key.
type keyOut struct {
	KeyID   string `json:"keyId"`
	ID      string `json:"id"`         // of applications, in v1
	Content []byte `json:"keyContent"` // of users, in v2
	Details []byte `json:"keyDetails"`
}

func (k keyOut) id() string { return k.KeyID + k.ID }

func (k keyOut) file() []byte { return slices.Concat(k.Content, k.Details) }

// AddKey gives a user the public half of a key (PEM, BEGIN PUBLIC KEY, RSA), and
// gives the key's id. The provider may refuse the key for some seconds.
func (c *Client) AddKey(ctx context.Context, userID string, publicPEM []byte, expires time.Time) (keyID string, err error) {
	made, err := c.makeKey(ctx, userID, keyIn{Expires: expires.UTC(), PublicKey: publicPEM})
	return made.id(), err
}

// MakeKey has the provider make a key for a user, and gives its key file, which the
// provider shows this once.
func (c *Client) MakeKey(ctx context.Context, userID string, expires time.Time) (keyID string, file []byte, err error) {
	made, err := c.makeKey(ctx, userID, keyIn{Expires: expires.UTC()})
	if err == nil && len(made.file()) == 0 {
		err = &Refusal{Doing: "make a key for user " + userID, Kind: ErrAnswer, cause: errors.New("it holds no key file")}
	}
	return made.id(), made.file(), err
}

func (c *Client) makeKey(ctx context.Context, userID string, in keyIn) (made keyOut, err error) {
	old := in
	old.Type = keyTypeJSON
	_, err = c.ask(ctx, question{"make a key for user " + userID, "AddKey", needsUserManager},
		way{http.MethodPost, "/v2/users/" + url.PathEscape(userID) + "/keys", in, &made},
		way{http.MethodPost, "/management/v1/users/" + url.PathEscape(userID) + "/keys", old, &made})
	if err == nil && made.id() == "" {
		err = &Refusal{Doing: "make a key for user " + userID, Kind: ErrAnswer, cause: errors.New("it holds no key id")}
	}
	return made, err
}

// keyShape is a key as searches write it.
type keyShape struct {
	ID      string    `json:"id"`
	KeyID   string    `json:"keyId"` // of applications, in v2
	Created time.Time `json:"creationDate"`
	Expires time.Time `json:"expirationDate"`
	Details struct {
		Created time.Time `json:"creationDate"`
	} `json:"details"` // of v1
}

type keysOut struct {
	Result []keyShape `json:"result"`
	Keys   []keyShape `json:"keys"`
}

func (k keysOut) keys() []Key {
	var all []Key
	for _, one := range slices.Concat(k.Result, k.Keys) {
		if one.Created.IsZero() {
			one.Created = one.Details.Created
		}
		all = append(all, Key{ID: one.ID + one.KeyID, Created: one.Created, Expires: one.Expires})
	}
	return all
}

type idFilter struct {
	ID string `json:"id"`
}

// Keys lists a user's keys, those that have expired too. A new one may be missing for
// a while.
func (c *Client) Keys(ctx context.Context, userID string) ([]Key, error) {
	type filter struct {
		User idFilter `json:"userIdFilter"`
	}
	var found keysOut
	_, err := c.ask(ctx, question{"list the keys of user " + userID, "ListKeys", needsUserManager},
		way{http.MethodPost, "/v2/users/keys/search", struct {
			Filters []filter `json:"filters"`
		}{[]filter{{idFilter{userID}}}}, &found},
		way{http.MethodPost, "/management/v1/users/" + url.PathEscape(userID) + "/keys/_search", nil, &found})
	return found.keys(), err
}

// RemoveKey takes a key from a user. One that is gone is no error.
func (c *Client) RemoveKey(ctx context.Context, userID, keyID string) error {
	path := url.PathEscape(userID) + "/keys/" + url.PathEscape(keyID)
	_, err := c.ask(ctx, question{"remove key " + keyID + " of user " + userID, "RemoveKey", needsUserManager},
		way{http.MethodDelete, "/v2/users/" + path, nil, nil}, way{http.MethodDelete, "/management/v1/users/" + path, nil, nil})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
