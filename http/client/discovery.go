package client

import (
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// DiscoveryOptions say how clients find out about the server.
type DiscoveryOptions struct {
	// BaseURL is where clients reach the server; empty leaves .well-known/matrix/client to another web server.
	BaseURL string
	// WellKnown are further members of .well-known/matrix/client.
	WellKnown map[string]any
	// Support is .well-known/matrix/support; nil leaves it to another web server.
	Support *Support
	// PolicyKey is the public key, in base64, of the policy server that goes by this server's name; empty if none does.
	PolicyKey string
	// Features are the unstable features that are served.
	Features map[string]bool
	// Capabilities are further capabilities.
	Capabilities map[string]any
}

// Support is how to reach those who run the server (client-server API, "Well-known URIs").
type Support struct {
	Contacts    []Contact `json:"contacts,omitempty"`
	SupportPage string    `json:"support_page,omitempty"`
}

// Contact is a person or a place to turn to.
type Contact struct {
	MatrixID     string `json:"matrix_id,omitempty"`
	EmailAddress string `json:"email_address,omitempty"`
	Role         string `json:"role"`
}

// versions are those of the specification whose endpoints are served. Clients compare them as they are spelt.
var versions = []string{
	"r0.5.0", "r0.6.0", "r0.6.1",
	"v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10",
	"v1.11", "v1.12", "v1.13", "v1.14", "v1.15", "v1.16", "v1.17", "v1.18", "v1.19",
}

// servedFeatures are proposals that are always served, and older clients' way to learn what the list of versions says.
var servedFeatures = []string{
	"com.beeper.msc4169",
	"com.beeper.msc4446",
	"fi.mau.msc2659",
	"fi.mau.msc2659.stable",
	"io.element.msc4190",
	"org.matrix.e2e_cross_signing",
	"org.matrix.msc2285.stable",
	"org.matrix.msc3030",
	"org.matrix.msc3202",
	"org.matrix.msc3391",
	"org.matrix.msc3440.stable",
	"org.matrix.msc3771",
	"org.matrix.msc3773",
	"org.matrix.msc3814",
	"org.matrix.msc3827.stable",
	"org.matrix.msc3874",
	"org.matrix.msc3881",
	"org.matrix.msc3882",
	"org.matrix.msc3916.stable",
	"org.matrix.msc3981",
	"org.matrix.msc4155",
	"org.matrix.msc4222",
	"org.matrix.msc4262",
	"org.matrix.msc4306",
	"org.matrix.msc4354",
	"org.matrix.msc4380",
	"org.matrix.msc4380.stable",
	"org.matrix.msc4429",
	"org.matrix.simplified_msc3575",
	"uk.half-shot.msc2666.query_mutual_rooms",
	"uk.half-shot.msc2666.query_mutual_rooms.stable",
	"uk.tcpip.msc4133",
	"uk.tcpip.msc4133.stable",
}

func (a *accounts) discovery() []api.Endpoint {
	return []api.Endpoint{
		{Methods: get, Path: "/_matrix/client/versions", Handler: a.getVersions},
		{Methods: get, Path: "/.well-known/matrix/client", Handler: a.wellKnownClient},
		{Methods: get, Path: "/.well-known/matrix/support", Handler: a.wellKnownSupport},
		{Methods: get, Path: "/.well-known/matrix/policy_server", Handler: a.wellKnownPolicyServer},
		{Methods: get, Path: "/_matrix/client/v3/capabilities", R0: true, Auth: api.User, Handler: a.capabilities},
	}
}

// getVersions is the same for everyone, so that a stale token does no harm.
func (a *accounts) getVersions(*api.Request) (any, error) {
	features := map[string]bool{}
	for _, name := range servedFeatures {
		features[name] = true
	}
	for _, preset := range [...]string{"public", "private", "trusted_private"} {
		features["io.element.e2ee_forced."+preset] = false
	}
	for name, served := range a.o.Discovery.Features {
		features[name] = served
	}
	return struct {
		Versions []string        `json:"versions"`
		Unstable map[string]bool `json:"unstable_features"`
	}{versions, features}, nil
}

func (a *accounts) wellKnownClient(*api.Request) (any, error) {
	w := a.wellKnown()
	if w == nil {
		return nil, mxerr.NotFound("this server does not serve the discovery file")
	}
	return w, nil
}

// wellKnown is the discovery file, nil when another web server serves it.
func (a *accounts) wellKnown() map[string]any {
	if a.o.Discovery.BaseURL == "" {
		return nil
	}
	w := map[string]any{}
	for k, v := range a.o.Discovery.WellKnown {
		w[k] = v
	}
	w["m.homeserver"] = map[string]string{"base_url": a.o.Discovery.BaseURL}
	return w
}

func (a *accounts) wellKnownSupport(*api.Request) (any, error) {
	s := a.o.Discovery.Support
	if s == nil {
		return nil, mxerr.NotFound("this server does not say how to reach its administrators")
	}
	return s, nil
}

// wellKnownPolicyServer tells with which key rooms choose the policy server that goes by this server's name (client-server API, "Policy Servers").
func (a *accounts) wellKnownPolicyServer(*api.Request) (any, error) {
	key := a.o.Discovery.PolicyKey
	if key == "" {
		return nil, mxerr.NotFound("no policy server goes by the name of this server")
	}
	return map[string]any{"public_keys": map[string]string{"ed25519": key}}, nil
}

// capabilities tells what the user can do here (client-server API, "Capabilities negotiation").
func (a *accounts) capabilities(r *api.Request) (any, error) {
	available := map[string]string{}
	for _, v := range roomversion.All() {
		if v.Stable {
			available[v.ID] = "stable"
		} else {
			available[v.ID] = "unstable"
		}
	}
	enabled := func(on bool) map[string]bool { return map[string]bool{"enabled": on} }
	c := map[string]any{
		"m.change_password":          enabled(r.Session.Appservice == "" && r.Session.OAuth == "" && !a.o.NoPasswords),
		"m.room_versions":            map[string]any{"default": roomversion.Default, "available": available},
		"m.set_displayname":          enabled(true),
		"m.set_avatar_url":           enabled(true),
		"m.3pid_changes":             enabled(a.o.Addresses != nil && r.Session.OAuth == ""),
		"m.get_login_token":          enabled(r.Session.Appservice == "" && r.Session.OAuth == ""),
		"m.profile_fields":           enabled(true),
		"m.forget_forced_upon_leave": enabled(false),
	}
	c["uk.tcpip.msc4133.profile_fields"] = c["m.profile_fields"]
	if r.Session.Admin {
		c["m.account_moderation"] = map[string]bool{"suspend": true, "lock": true}
	}
	for name, value := range a.o.Discovery.Capabilities {
		c[name] = value
	}
	return map[string]any{"capabilities": c}, nil
}
