package federation

import (
	"os"
	"os/exec"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/peers"
)

// TestKeyRotation: a server whose key is replaced publishes the new one, and until when the old one was good.
// HARD_PLACES.md 26: after a rotation old events still verify.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	a := peers.NewAuthority(t)
	server, stranger := a.Start(1)[0], a.Stranger(t)
	published := func() gjson.Result {
		t.Helper()
		raw, err := stranger.Caller.Call(t.Context(), federation.Request{Destination: server.Name, Method: "GET", URI: "/_matrix/key/v2/server", Eager: true})
		if err != nil {
			t.Fatal(err)
		}
		return gjson.ParseBytes(raw)
	}
	keyOf := func(keys gjson.Result) (id, public string) {
		for id, key := range keys.Map() {
			return id, key.Get("key").Str
		}
		return "", ""
	}
	first := published()
	oldID, oldPublic := keyOf(first.Get("verify_keys"))

	command := exec.CommandContext(t.Context(), binary.Program(t), "keys", "rotate", "--grace", "0s")
	command.Env = append(os.Environ(), "MATRIXON_DATA_DIR="+server.DataDir())
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	server.Stop()
	server.Run()

	now := published()
	newID, newPublic := keyOf(now.Get("verify_keys"))
	if len(now.Get("verify_keys").Map()) != 1 || newID == oldID || newPublic == oldPublic {
		t.Errorf("before %s\nafter %s", first, now)
	}
	if old := now.Get("old_verify_keys").Map()[oldID]; old.Get("key").Str != oldPublic || old.Get("expired_ts").Int() == 0 {
		t.Errorf("the old key is not published: %s", now)
	}
	signatures := now.Get("signatures").Map()[server.Name].Map()
	if _, ok := signatures[newID]; !ok {
		t.Errorf("it is not signed by the new key: %s", now)
	}
}
