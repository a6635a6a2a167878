// Package federation holds the tests of real homeservers that talk to each other.
package federation

import (
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/tests/peers"
)

// TestNotary: a homeserver fetches the keys of another, over TLS, and signs what it was given.
func TestNotary(t *testing.T) {
	t.Parallel()
	a := peers.NewAuthority(t)
	servers := a.Start(2)
	stranger := a.Stranger(t)
	raw, err := stranger.Caller.Call(t.Context(), federation.Request{Destination: servers[0].Name, Method: "GET", URI: "/_matrix/key/v2/query/" + servers[1].Name})
	if err != nil {
		t.Fatal(err, servers[0].Log())
	}
	keys := gjson.GetBytes(raw, "server_keys.0")
	if keys.Get("server_name").Str != servers[1].Name || len(keys.Get("signatures").Map()) != 2 {
		t.Errorf("%s", raw)
	}
	if _, err := stranger.Caller.Call(t.Context(), federation.Request{Destination: servers[0].Name, Method: "GET", URI: "/_matrix/federation/v1/version"}); err != nil {
		t.Error(err)
	}
}
