package room

import (
	"fmt"
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/signing"
)

// bouncer is the key of a policy server.
var bouncer = signing.NewKey("policy_server", append(make([]byte, 31), 9))

// vouched signs the approval's event as the policy server does, and goes on with it.
func (w *world) vouched(a *Approval) Reply {
	w.t.Helper()
	signed, err := a.Event.Sign(a.Server.Name, bouncer)
	if err != nil {
		w.t.Fatal(err)
	}
	w.now += 10
	return w.ask(Approved{Approval: a, Now: w.now, Signature: signed.Signatures()[a.Server.Name][PolicyKeyID]})
}

func message(text string) Proposal {
	return Proposal{Type: "m.room.message", Sender: "@alice:test", Content: []byte(fmt.Sprintf(`{"body":%q}`, text))}
}

// policed is a room of alice's with bob of other, which is its policy server.
func policed(t *testing.T, version string) *world {
	t.Helper()
	w, other := newWorld(t), newServer(t, "other")
	w.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
	other.join("@bob:other", w)
	w.set("@alice:test", PolicyType, "", `{"via":"other","public_keys":{"ed25519":"`+signing.EncodeBase64(bouncer.Public())+`"}}`)
	return w
}

func TestPolicyServersVouch(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		w := policed(t, version)
		asked := w.okay(Propose{From: w.from("@alice:test"), Event: message("hello"), TxnID: "t1"})
		if asked.Approval == nil || asked.Entry != nil || asked.Approval.Server.Name != "other" {
			t.Fatalf("the policy server is not asked: %+v", asked)
		}
		sent := w.vouched(asked.Approval)
		if sent.Err != nil || sent.Entry == nil || sent.Entry.TxnID != "t1" || !sent.Entry.Outbound || sent.Entry.Event.Signatures()["other"][PolicyKeyID] == "" {
			t.Fatalf("what the policy server signed is answered with %+v", sent)
		}
		if again := w.okay(Propose{From: w.from("@alice:test"), Event: message("hello"), TxnID: "t1"}); again.Entry == nil || again.Entry.Event.ID() != sent.Entry.Event.ID() {
			t.Errorf("the same transaction again: %+v", again)
		}
		if len(w.m.Extremities()) != 1 {
			t.Errorf("the room has the ends %v", w.m.Extremities())
		}

		refused := w.okay(Propose{From: w.from("@alice:test"), Event: message("spam")})
		w.refused(Approved{Approval: refused.Approval, Now: w.now, Err: mxerr.New(400, "M_FORBIDDEN", "spam")}, "M_FORBIDDEN")
		forged := w.okay(Propose{From: w.from("@alice:test"), Event: message("forged")})
		w.refused(Approved{Approval: forged.Approval, Now: w.now, Signature: signing.Sign([]byte(`{}`), bouncer)}, "M_FORBIDDEN")

		// Everything is asked about, but not whom to ask.
		if r := w.okay(ChangeMembership{From: w.from("@carol:test"), Action: Join, Target: "@carol:test"}); r.Approval == nil {
			t.Errorf("the policy server is not asked about a join: %+v", r)
		}
		if r := w.okay(Propose{From: w.from("@alice:test"), Event: Proposal{Type: PolicyType, Sender: "@alice:test", Content: []byte(`{}`)}}); r.Approval == nil {
			t.Errorf("the policy server is not asked about a message of its type: %+v", r)
		}
		w.set("@alice:test", PolicyType, "", `{}`)
		w.say("@alice:test", "without")
	})
}

func TestPolicyServersDoNotHoldTheRoomUp(t *testing.T) {
	t.Parallel()
	w := policed(t, "12")
	first := w.okay(Propose{From: w.from("@alice:test"), Event: message("same"), TxnID: "t1"})
	w.now -= 10 // in the same millisecond
	second := w.okay(Propose{From: w.from("@alice:test"), Event: message("same"), TxnID: "t2"})
	twin := w.okay(Propose{From: w.from("@alice:test"), Event: message("same"), TxnID: "t1"})
	a, b := w.vouched(second.Approval), w.vouched(first.Approval)
	if a.Err != nil || b.Err != nil || a.Entry.Event.ID() == b.Entry.Event.ID() {
		t.Fatalf("two messages that are the same: %+v %+v", a, b)
	}
	if c := w.vouched(twin.Approval); c.Err != nil || c.Entry.Event.ID() != b.Entry.Event.ID() {
		t.Errorf("one transaction makes two events: %+v", c)
	}
	late := w.okay(Propose{From: w.from("@alice:test"), Event: message("before the room was closed")})
	closing := w.okay(Propose{From: w.from("@alice:test"), Event: Proposal{Type: "m.room.topic", StateKey: new(string), Sender: "@alice:test", Content: []byte(`{"topic":"closing"}`)}})
	if r := w.vouched(closing.Approval); r.Err != nil {
		t.Fatal(r.Err)
	}
	if r := w.vouched(late.Approval); r.Err != nil {
		t.Errorf("a message that was asked about before the topic changed: %v", r.Err)
	}
	if got := w.current[event.Tuple{Type: "m.room.topic"}]; got == "" {
		t.Error("the topic is lost")
	}
	if next := w.vouched(w.okay(Propose{From: w.from("@alice:test"), Event: message("and on")}).Approval); len(next.Entry.Event.PrevEvents()) != 2 || len(w.m.Extremities()) != 1 {
		t.Errorf("the next event follows %v", next.Entry.Event.PrevEvents())
	}
}

func TestPolicyServersThatDoNotCount(t *testing.T) {
	t.Parallel()
	key := `{"ed25519":"` + signing.EncodeBase64(bouncer.Public()) + `"}`
	for name, content := range map[string]string{
		"nobody is there": `{"via":"elsewhere","public_keys":` + key + `}`, "no name": `{"public_keys":` + key + `}`, "no string": `{"via":5,"public_keys":` + key + `}`,
		"no keys": `{"via":"other"}`, "no key": `{"via":"other","public_keys":{"rsa":"x"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, other := newWorld(t), newServer(t, "other")
			w.create("@alice:test", `{"preset":"public_chat"}`)
			other.join("@bob:other", w)
			w.set("@alice:test", PolicyType, "", content)
			w.say("@alice:test", "freely")
		})
	}
	t.Run("a key that is none", func(t *testing.T) {
		t.Parallel()
		w := policed(t, "12")
		w.set("@alice:test", PolicyType, "", `{"via":"other","public_keys":{"ed25519":"AAAA"}}`)
		asked := w.okay(Propose{From: w.from("@alice:test"), Event: message("hello")})
		if r := w.vouched(asked.Approval); r.Err == nil || r.Err.Code != "M_FORBIDDEN" {
			t.Errorf("a signature that nobody can check counts: %+v", r)
		}
	})
}
