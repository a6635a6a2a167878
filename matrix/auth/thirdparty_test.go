package auth_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/signing"
)

func testKey(seed byte) signing.Key {
	return signing.NewKey("1", bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// signedInvite is what an identity server signs for a user.
func signedInvite(t testing.TB, userID string, key signing.Key) string {
	t.Helper()
	signed, err := signing.SignJSON([]byte(`{"mxid":"`+userID+`","token":"abc"}`), "identity.example", key)
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

func publicKey(seed byte) string { return signing.EncodeBase64(testKey(seed).Public()) }

func TestThirdPartyInviteRules(t *testing.T) {
	t.Parallel()
	// accept is the invite that a third-party invite of the moderator's becomes.
	accept := func(promise, target string, signed func(testing.TB) string) func(r *room) *event.Event {
		return func(r *room) *event.Event {
			if promise != "" {
				r.set(moderator, "m.room.third_party_invite", "abc", promise)
			}
			return r.membership(moderator, target, "invite", `,"third_party_invite":{"display_name":"x"`+signed(r.t)+`}`)
		}
	}
	by := func(userID string, key byte) func(testing.TB) string {
		return func(t testing.TB) string { return `,"signed":` + signedInvite(t, userID, testKey(key)) }
	}
	text := func(s string) func(testing.TB) string { return func(testing.TB) string { return s } }
	promise := `{"public_key":"` + publicKey(1) + `","public_keys":[{"public_key":"` + publicKey(2) + `"},{"public_key":"` + publicKey(3) + `"}]}`
	runRules(t, []rule{
		{"signed by the key", "1-12:ok", accept(promise, stranger, by(stranger, 1))},
		{"signed by one of the keys", "1-12:ok", accept(promise, stranger, by(stranger, 3))},
		{"signed by the only key", "1-12:ok", accept(`{"public_key":"`+publicKey(1)+`"}`, stranger, by(stranger, 1))},
		{"of somebody banned", "1-5:5.3.1.1 6-7:4.3.1.1 8-11:4.4.1.1 12:5.4.1.1", accept(promise, banned, by(banned, 1))},
		{"not signed", "1-5:5.3.1.2 6-7:4.3.1.2 8-11:4.4.1.2 12:5.4.1.2", accept(promise, stranger, text(""))},
		{"without a token", "1-5:5.3.1.3 6-7:4.3.1.3 8-11:4.4.1.3 12:5.4.1.3", accept(promise, stranger, text(`,"signed":{"mxid":"@stranger:c"}`))},
		{"without a user", "1-5:5.3.1.3 6-7:4.3.1.3 8-11:4.4.1.3 12:5.4.1.3", accept(promise, stranger, text(`,"signed":{"token":"abc"}`))},
		{"for somebody else", "1-5:5.3.1.4 6-7:4.3.1.4 8-11:4.4.1.4 12:5.4.1.4", accept(promise, stranger, by("@other:c", 1))},
		{"unknown to the room", "1-5:5.3.1.5 6-7:4.3.1.5 8-11:4.4.1.5 12:5.4.1.5", accept("", stranger, by(stranger, 1))},
		{"sent by somebody else", "1-5:5.3.1.6 6-7:4.3.1.6 8-11:4.4.1.6 12:5.4.1.6", func(r *room) *event.Event {
			r.set(admin, "m.room.third_party_invite", "abc", promise)
			return accept("", stranger, by(stranger, 1))(r)
		}},
		{"signed by another key", "1-5:5.3.1.8 6-7:4.3.1.8 8-11:4.4.1.8 12:5.4.1.8", accept(promise, stranger, by(stranger, 9))},
		{"in a room without keys", "1-5:5.3.1.8 6-7:4.3.1.8 8-11:4.4.1.8 12:5.4.1.8", accept(`{"public_key":5,"public_keys":"x"}`, stranger, by(stranger, 1))},
		{"with signatures of the wrong shape", "1-5:5.3.1.8 6-7:4.3.1.8 8-11:4.4.1.8 12:5.4.1.8",
			accept(promise, stranger, text(`,"signed":{"mxid":"@stranger:c","signatures":{"a":"b","c":{"d":5}},"token":"abc"}`))},
		{"tampered with", "1-5:5.3.1.8 6-7:4.3.1.8 8-11:4.4.1.8 12:5.4.1.8", accept(promise, stranger, func(t testing.TB) string {
			return `,"signed":` + strings.Replace(signedInvite(t, stranger, testKey(1)), `"token"`, `"sender":"@x:y","token"`, 1)
		})},
	})
}

// TestThirdPartyInviteIsBounded gives an invite far more signatures and keys than anybody needs: the one that is good comes too
// late to be found.
func TestThirdPartyInviteIsBounded(t *testing.T) {
	t.Parallel()
	r := newRoom(t, versionsOf(t, "12")[0])
	var keys, signatures []string
	for i := range 200 {
		keys = append(keys, `{"public_key":"`+publicKey(byte(i))+`"}`)
		signatures = append(signatures, fmt.Sprintf(`"ed25519:%03d":%q`, i, signing.EncodeBase64(make([]byte, ed25519.SignatureSize))))
	}
	r.set(moderator, "m.room.third_party_invite", "abc", `{"public_keys":[`+strings.Join(keys, ",")+`]}`)
	signed := strings.Replace(signedInvite(t, stranger, testKey(1)), `"ed25519:1"`, strings.Join(signatures, ",")+`,"ed25519:z"`, 1)
	requireRule(t, "5.4.1.8", auth.Check(r.membership(moderator, stranger, "invite", `,"third_party_invite":{"signed":`+signed+`}`), r))
	r.set(moderator, "m.room.third_party_invite", "abc", `{"public_keys":[`+keys[1]+`]}`)
	requireRule(t, "ok", auth.Check(r.membership(moderator, stranger, "invite", `,"third_party_invite":{"signed":`+signed+`}`), r))
}
