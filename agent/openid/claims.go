package openid

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// ReadClaims reads the claims of a JWT, which has two dots and a JSON header. It
// judges no signature: it is for who holds the token, to see what stands in it.
func ReadClaims(token string) (map[string]any, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, false
	}
	var header, claims map[string]any
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			return nil, false
		}
	}
	return claims, header != nil && claims != nil
}

// Texts reads a claim that is one text or several, such as aud.
func Texts(claim any) []string {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			if s, ok := one.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

// Moment reads a claim that is a time, such as exp.
func Moment(claim any) (time.Time, bool) {
	seconds, ok := claim.(float64)
	return time.Unix(int64(seconds), 0), ok
}
