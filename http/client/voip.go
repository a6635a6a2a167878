package client

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what TURN servers expect
	"encoding/base64"
	"fmt"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// TURN are the servers through which calls go when two clients do not reach each other.
type TURN struct {
	URIs []string // none: clients get no credentials
	// Secret is shared with the TURN servers.
	Secret string
	// Lifetime is how long credentials are good.
	Lifetime time.Duration
}

// Calls are the endpoints of voice over IP.
func Calls(d Deps, t TURN) []api.Endpoint {
	return []api.Endpoint{{Methods: get, Path: v3 + "/voip/turnServer", R0: true, Auth: api.User, Limit: api.LimitRead,
		Handler: func(r *api.Request) (any, error) { return t.credentials(r.User(), d.Now()) }}}
}

// turnServer is how a client reaches the TURN servers.
type turnServer struct {
	Username string   `json:"username"`
	Password string   `json:"password"`
	URIs     []string `json:"uris"`
	TTL      int64    `json:"ttl"` // s
}

// credentials makes credentials that TURN servers can check with the shared secret alone: the name says until when they are good,
// the password is its HMAC-SHA1 (draft-uberti-behave-turn-rest).
func (t TURN) credentials(userID string, now time.Time) (turnServer, error) {
	if len(t.URIs) == 0 {
		return turnServer{}, mxerr.NotFound("this server has no TURN servers")
	}
	name := fmt.Sprintf("%d:%s", now.Add(t.Lifetime).Unix(), userID)
	mac := hmac.New(sha1.New, []byte(t.Secret))
	mac.Write([]byte(name))
	return turnServer{name, base64.StdEncoding.EncodeToString(mac.Sum(nil)), t.URIs, int64(t.Lifetime / time.Second)}, nil
}
