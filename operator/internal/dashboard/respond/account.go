package respond

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"fleet.nationtech.io/operator/internal/dashboard/page"
	"fleet.nationtech.io/operator/internal/dashboard/person"
	"fleet.nationtech.io/operator/internal/dashboard/signin"
)

// End is the end of a page, which persons do not share: it says who looks at it.
func End(r *http.Request) []byte {
	a := page.Account{SignOut: signin.SignOutPath}
	if who := person.Of(r.Context()); who != nil {
		a.Name = who.Name
	}
	return page.End(a)
}

// PersonalTag is the entity tag of an answer for the person who asks: no browser may show what it
// has of another person as its own.
func PersonalTag(r *http.Request, tag string) string {
	who := person.Of(r.Context())
	if who == nil {
		return tag
	}
	sum := sha256.Sum256([]byte(who.Actor + " " + who.Name))
	return strings.TrimSuffix(tag, `"`) + "-" + hex.EncodeToString(sum[:8]) + `"`
}
