package devprovider

import (
	"encoding/json"
	"net/http"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// Paths that others need to know, as Zitadel has them.
const (
	discoveryPath = "/.well-known/openid-configuration"
	tokenPath     = "/oauth/v2/token"
	keysPath      = "/oauth/v2/keys"
	devicePath    = "/device"
)

// warningMember is the member of the discovery document that holds Warning.
const warningMember = "fleet_development_provider"

// discovery is the library's document with the warning in it.
type discovery struct{ library *op.Provider }

// ServeHTTP implements http.Handler.
func (d discovery) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := op.ContextWithIssuer(r.Context(), d.library.IssuerFromRequest(r))
	text, err := json.Marshal(op.CreateDiscoveryConfig(ctx, d.library, d.library.Storage()))
	var document map[string]any
	if err == nil {
		err = json.Unmarshal(text, &document)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	document[warningMember] = Warning
	document["grant_types_supported"] = []string{grantJWTBearer, grantDeviceCode, "refresh_token"}
	answer(w, http.StatusOK, document)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asked is gone
}
