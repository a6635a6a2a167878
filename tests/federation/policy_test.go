package federation

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// bouncer makes the crafter of the siege the policy server of its room: it signs what has no spam in it.
type bouncer struct {
	*siege
	key   signing.Key
	asked atomic.Int32
	down  atomic.Bool
}

func police(s *siege) *bouncer {
	s.t.Helper()
	b := &bouncer{siege: s, key: signing.NewKey("policy_server", []byte("a policy server has a key of its")[:32])}
	s.c.Mux.HandleFunc("POST /_matrix/policy/v1/sign", func(w http.ResponseWriter, r *http.Request) {
		b.asked.Add(1)
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			s.t.Error(err)
		}
		e, err := event.Parse(raw, s.room.Version)
		switch {
		case b.down.Load():
			peers.JSON(w, http.StatusServiceUnavailable, J{"errcode": "M_UNKNOWN", "error": "down"})
		case err != nil:
			peers.JSON(w, http.StatusBadRequest, J{"errcode": "M_BAD_JSON", "error": err.Error()})
		case e.Type() == room.PolicyType && e.IsState() && e.Tuple().StateKey == "":
			s.t.Error("the policy server is asked about the event that names it")
		case strings.Contains(string(e.Content()), "spam"):
			peers.JSON(w, http.StatusBadRequest, J{"errcode": "M_FORBIDDEN", "error": "we do not like that"})
		default:
			peers.JSON(w, http.StatusOK, J{s.c.Name: J{room.PolicyKeyID: b.sign(e).Signatures()[s.c.Name][room.PolicyKeyID]}})
		}
	})
	s.alice.do("PUT", matrixclient.Path("rooms", s.room.ID, "state", room.PolicyType, ""),
		J{"via": s.c.Name, "public_keys": J{"ed25519": signing.EncodeBase64(b.key.Public())}})
	return b
}

func (b *bouncer) sign(e *event.Event) *event.Event {
	signed, err := e.Sign(b.c.Name, b.key)
	if err != nil {
		b.t.Error(err)
		return e
	}
	return signed
}

// TestPolicyServers: a room's policy server is asked about events of this server before anybody sees them, and about those of others that it
// has not signed (server-server API, "Policy Servers"; HARD_PLACES.md 19).
func TestPolicyServers(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	for _, version := range []string{"6", "12"} {
		t.Run(version, func(t *testing.T) {
			s := besiege(t, authority, server, version)
			b := police(s)
			if got := s.c.Got(s.alice.say(s.room.ID, "hello")); b.key.Public() == nil || got.VerifySignature(s.c.Name, room.PolicyKeyID, b.key.Public()) != nil {
				t.Errorf("what alice says goes out as %s", got.JSON())
			}
			_, err := s.alice.Send(t.Context(), s.room.ID, "m.room.message", "t-spam", J{"msgtype": "m.text", "body": "spam"})
			if err == nil || !strings.Contains(err.Error(), "M_FORBIDDEN") || !strings.Contains(err.Error(), "we do not like that") {
				t.Errorf("spam of our own: %v", err)
			}

			asked := b.asked.Load()
			signed := s.c.Make(s.room, s.message())
			s.room.Add(b.sign(signed))
			if fate := s.send(b.sign(signed).JSON())[signed.ID()]; fate != "" {
				t.Errorf("an event that is signed: %s", fate)
			}
			s.alice.has(s.room.ID, signed.ID())
			if b.asked.Load() != asked {
				t.Error("the policy server is asked about what it has signed")
			}
			unsigned := s.c.Put(s.room, s.message())
			if fate := s.send(unsigned.JSON())[unsigned.ID()]; fate != "" {
				t.Errorf("an event that is not signed yet: %s", fate)
			}
			s.alice.has(s.room.ID, unsigned.ID())
			if b.asked.Load() != asked+1 {
				t.Errorf("the policy server is asked %d times about what it has not signed", b.asked.Load()-asked)
			}
			spam := s.c.Make(s.room, s.room.Draft(s.mallory, "m.room.message", `{"msgtype":"m.text","body":"spam"}`))
			if fate := s.send(spam.JSON())[spam.ID()]; fate != "" {
				t.Errorf("spam is soft-failed, not rejected: %s", fate)
			}
			if s.readable(spam.ID()) {
				t.Error("alice reads spam")
			}

			b.down.Store(true)
			s.alice.refused("M_UNKNOWN", "PUT", matrixclient.Path("rooms", s.room.ID, "send", "m.room.message", "t-down"), J{"msgtype": "m.text", "body": "anybody?"})
			s.alice.do("PUT", matrixclient.Path("rooms", s.room.ID, "state", room.PolicyType, ""), J{})
			s.c.Got(s.alice.say(s.room.ID, "without"))
			s.healthy()
		})
	}
}
