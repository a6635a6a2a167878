package push_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/actors/push"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// subscribe has what alice misses sent by email.
func (w *world) subscribe() {
	w.t.Helper()
	actortest.Must[*messages.Done](w.alice, &messages.AddThirdPartyID{Medium: "email", Address: "alice@example.org", ValidatedTs: 1})
	w.phone(w.alice, "alice@example.org", func(p *messages.SetPusher) { p.Kind, p.AppId, p.Data = "email", "m.email", []byte("{}") })
}

// when moves the time on once the push actor waits for exactly that.
func (w *world) when(d time.Duration) {
	w.t.Helper()
	w.Clock.Await(d)
	w.Clock.Advance(d)
}

// What was missed comes in one message, some time later; the next waits longer.
func TestDigest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribe()
	for i := range 7 {
		w.bob.Say(w.room, fmt.Sprint("number ", i))
	}
	private := w.bob.Create(j{"preset": "private_chat"})
	w.bob.Invite(private, w.alice)
	w.look()
	w.when(push.Settle)
	d := w.letter()
	if len(d.Rooms) != 2 {
		t.Fatalf("%+v", d)
	}
	r, invite := d.Rooms[0], d.Rooms[1]
	if r.ID != w.room || r.Name != "Kitchen" || r.Invite || len(r.Lines) != 5 || r.More != 2 || r.Lines[0].Text != "number 0" || r.Lines[0].Sender == "" {
		t.Errorf("%+v", r)
	}
	if invite.ID != private || !invite.Invite || len(invite.Lines) != 1 || invite.Lines[0].Text != "" {
		t.Errorf("%+v", invite)
	}
	for len(rows(t, w.Store, schema.PushItems)) > 0 { // until it is written down that it was sent
		w.Settle()
	}
	w.bob.Send(w.room, "m.room.encrypted", j{"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"})
	w.look()
	w.when(push.Settle)
	if d := w.letter(); len(d.Rooms) != 1 || d.Rooms[0].Lines[0].Text != "" {
		t.Errorf("%+v", d)
	}
	for len(rows(t, w.Store, schema.PushItems)) > 0 {
		w.Settle()
	}
	w.bob.Say(w.room, "later")
	w.look()
	w.when(6 * push.FirstSilence)
	w.letter()
}

// What is read in time is not told of, and what the post does not take is sent again.
func TestDigestOfWhatWasRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribe()
	read := w.bob.Say(w.room, "read")
	w.look()
	w.Clock.Await(push.Settle)
	w.alice.Read(w.room, "m.read", read, "")
	w.Clock.Advance(push.Settle)
	for len(rows(t, w.Store, schema.PushItems)) > 0 {
		w.Settle()
	}
	w.mailDown.Store(true)
	w.bob.Say(w.room, "unread")
	w.look()
	w.when(push.Settle)
	if d := w.letter(); len(d.Rooms) != 1 || d.Rooms[0].Lines[0].Text != "unread" {
		t.Errorf("%+v", d)
	}
	w.mailDown.Store(false)
	again := make(chan push.Digest, 1)
	go func() { again <- w.letter() }()
	for {
		select {
		case d := <-again:
			if len(d.Rooms) != 1 || d.Rooms[0].Lines[0].Text != "unread" {
				t.Errorf("%+v", d)
			}
			return
		case <-time.After(time.Millisecond):
			w.Clock.Advance(push.FirstPause)
		}
	}
}
