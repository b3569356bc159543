package openid

import (
	"fmt"
	"net/url"
)

// CheckIssuer is strict, since a provider compares its issuer byte by byte with the
// audience of what is signed for it. plaintext says that the issuer is of scheme
// http.
func CheckIssuer(issuer string) (plaintext bool, err error) {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return false, fmt.Errorf("%q is not a URL such as \"https://auth.example.org\"", issuer)
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return false, fmt.Errorf("%q must be scheme, host and port alone, without a trailing slash", u.Redacted())
	}
	return u.Scheme == "http", nil
}
