package room

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCreateRoomInOrder(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "5", "10", "11", "12"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, newMemory(t))
			roomID := s.create(alice, `{"room_version":"`+version+`","preset":"public_chat","visibility":"public","room_alias_name":"pub",
				"name":"The Pub","topic":"ale","invite":["`+bob+`"],"is_direct":true,
				"initial_state":[{"type":"m.room.encryption","content":{"algorithm":"m.megolm.v1.aes-sha2"}}]}`)
			var types []string
			for i, row := range s.journal(roomID) {
				types = append(types, row.Type)
				if row.Seq != uint64(i+1) || row.Pos == 0 {
					t.Errorf("event %d has seq %d and position %d", i, row.Seq, row.Pos)
				}
			}
			want := "m.room.create m.room.member m.room.power_levels m.room.canonical_alias m.room.join_rules " +
				"m.room.history_visibility m.room.guest_access m.room.encryption m.room.name m.room.topic m.room.member"
			if got := strings.Join(types, " "); got != want {
				t.Errorf("the events are %s\nwant %s", got, want)
			}
			got := s.summary(roomID)
			if got.Name != "The Pub" || got.Topic != "ale" || got.JoinedMembers != 1 || got.InvitedMembers != 1 || !got.Published ||
				got.Encryption != "m.megolm.v1.aes-sha2" || got.JoinRule != "public" || got.Version != version || got.CanonicalAlias != "#pub:test" {
				t.Errorf("the summary is %+v", got)
			}
			invite := s.membership(bob, roomID)
			if invite.Membership != "invite" || !strings.Contains(string(invite.StrippedState), "m.room.create") || !strings.Contains(string(invite.StrippedState), "The Pub") {
				t.Errorf("the invitation is %+v", invite)
			}
			if alias, ok, err := schema.Aliases.Get(context.Background(), s.store, schema.Alias{Alias: "#pub:test"}); err != nil || !ok || alias.RoomID != roomID {
				t.Errorf("the alias is %+v, %v, %v", alias, ok, err)
			}
			if _, err := s.tryCreate(bob, `{"room_alias_name":"pub"}`); err == nil || !strings.Contains(err.Error(), "M_ROOM_IN_USE") {
				t.Errorf("a second room with the alias: %v", err)
			}
		})
	}
}

func TestSendIsIdempotentAcrossActivations(t *testing.T) {
	t.Parallel()
	store := newMemory(t)
	s := newServer(t, store)
	roomID := s.create(alice, `{"preset":"private_chat"}`)
	first := s.must(roomID, text(alice, "hello", "t1"))
	if again := s.must(roomID, text(alice, "hello", "t1")); again.EventId != first.EventId || again.Pos != first.Pos {
		t.Errorf("repeated at once: %v, want %v", again, first)
	}
	next := newServer(t, store)
	if again := next.must(roomID, text(alice, "hello", "t1")); again.EventId != first.EventId || again.Pos != first.Pos {
		t.Errorf("repeated after a restart: %v, want %v", again, first)
	}
	if other := next.must(roomID, text(alice, "hello", "t2")); other.EventId == first.EventId || other.Seq != first.Seq+1 {
		t.Errorf("another transaction gave %v after %v", other, first)
	}
	// The older activation is fenced off, and its caller is served by a new one.
	if third := s.must(roomID, text(alice, "hello", "t3")); third.Seq != first.Seq+2 {
		t.Errorf("the fenced activation gave %v", third)
	}
}

// TestTransactionsAreKept: those who ask look there first, so that a request may be repeated however long after.
func TestTransactionsAreKept(t *testing.T) {
	t.Parallel()
	s := newServer(t, newMemory(t))
	roomID := s.create(alice, `{"preset":"private_chat"}`)
	said := s.must(roomID, text(alice, "hello", "t1"))
	redaction := s.must(roomID, &messages.SendEvent{
		By: by(alice), TxnId: "t1", Event: &messages.Proposal{Type: "m.room.redaction", Sender: alice, Content: []byte(`{}`), Redacts: said.EventId}})
	s.must(roomID, text(alice, "no transaction", ""))
	rows, err := schema.RoomTransactions.All(context.Background(), s.store, persistence.Range[schema.RoomTransaction]{})
	for i := range rows {
		if rows[i].TS == 0 {
			t.Error("a transaction without a time")
		}
		rows[i].TS = 0
	}
	want := []schema.RoomTransaction{
		{RoomID: roomID, UserID: alice, DeviceID: "DEV", Type: "m.room.message", TxnID: "t1", EventID: said.EventId},
		{RoomID: roomID, UserID: alice, DeviceID: "DEV", Type: "m.room.redaction", Redacts: said.EventId, TxnID: "t1", EventID: redaction.EventId},
	}
	if err != nil || !slices.Equal(rows, want) {
		t.Errorf("%+v, %v, want %+v", rows, err, want)
	}
}

func TestConcurrentRepeatsAreOneEvent(t *testing.T) {
	t.Parallel()
	s := newServer(t, newMemory(t))
	roomID := s.create(alice, `{"preset":"private_chat"}`)
	var wg sync.WaitGroup
	ids := make([]string, 10)
	for i := range ids {
		wg.Go(func() { ids[i] = s.must(roomID, text(alice, "hello", "t")).EventId })
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("the repeats gave %v", ids)
		}
	}
	if n := len(s.journal(roomID)); n != 7 {
		t.Errorf("the journal has %d events", n)
	}
}

func TestMembershipRows(t *testing.T) {
	t.Parallel()
	s := newServer(t, newMemory(t))
	roomID := s.create(alice, `{"preset":"private_chat"}`)
	s.must(roomID, change(alice, messages.ChangeMembership_INVITE, bob))
	joined := s.must(roomID, change(bob, messages.ChangeMembership_JOIN, bob))
	if again := s.must(roomID, change(bob, messages.ChangeMembership_JOIN, bob)); again.EventId != joined.EventId {
		t.Errorf("joining twice gave %v, want %v", again, joined)
	}
	row := s.membership(bob, roomID)
	if row.Membership != "join" || row.JoinedSeq != joined.Seq || row.Pos != joined.Pos {
		t.Errorf("the row is %+v after %v", row, joined)
	}
	s.refused(roomID, &messages.Forget{By: by(bob)}, 400, "M_UNKNOWN")
	left := s.must(roomID, change(bob, messages.ChangeMembership_LEAVE, bob))
	s.must(roomID, &messages.Forget{By: by(bob)})
	if row = s.membership(bob, roomID); !row.Forgotten || row.Pos != left.Pos || row.JoinedSeq != joined.Seq {
		t.Errorf("the forgotten row is %+v after %v", row, left)
	}
	s.must(roomID, change(alice, messages.ChangeMembership_INVITE, bob))
	if row = s.membership(bob, roomID); row.Forgotten || row.Membership != "invite" {
		t.Errorf("the row after a new invitation is %+v", row)
	}
}

func TestRedactionRewritesTheEvent(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2", "10", "12"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, newMemory(t))
			roomID := s.create(alice, `{"preset":"public_chat","room_version":"`+version+`","name":"secret name"}`)
			s.must(roomID, change(bob, messages.ChangeMembership_JOIN, bob))
			sent := s.must(roomID, text(bob, "secret", "t"))
			redact := func(user, target string) *messages.SendEvent {
				return &messages.SendEvent{By: by(user), Event: &messages.Proposal{
					Type: "m.room.redaction", Sender: user, Content: []byte(`{"reason":"no"}`), Redacts: target}}
			}
			redaction := s.must(roomID, redact(bob, sent.EventId))
			row := s.journal(roomID)[sent.Seq-1]
			if row.RedactedBy != redaction.EventId || row.Pos != sent.Pos || strings.Contains(string(row.JSON), "secret") {
				t.Errorf("the redacted row is %+v (%s)", row, row.JSON)
			}
			name := slices.IndexFunc(s.journal(roomID), func(e schema.Event) bool { return e.Type == "m.room.name" })
			s.refused(roomID, redact(bob, s.journal(roomID)[name].EventID), 403, "M_FORBIDDEN")
			s.must(roomID, redact(alice, s.journal(roomID)[name].EventID))
			if got := s.summary(roomID).Name; got != "" {
				t.Errorf("the name is still %q", got)
			}
		})
	}
}
